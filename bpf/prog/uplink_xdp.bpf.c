/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What arrives on the node's uplink, at its driver (XDP), IPv4 and IPv6 alike: drops what is not wanted, and
 * hands over what belongs to another node where the device can. See ../lib/xdp_serve.h.
 *
 * "frags": frames may lie in several buffers, so that it fits a device of any MTU.
 */
#include "../lib/xdp_serve.h"

SEC("xdp.frags")
int uplink_xdp(struct xdp_md *ctx)
{
	return xdp_judge(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
