"""The way of packets to the proxies on this node: a mark's route to the node itself.

    needed or not  ->  ip rules, routes of one table, nftables table `cairn_proxy`

The data plane marks what it gives to a proxy, and the mark's own table delivers every address
locally. Answers that masquerade translates back are recognised behind it, by the transparent socket
that waits for them.

The proxy's own connections come from ports above those that the kernel gives by itself; it lets a
socket choose among these only if they are in the node's range, which so ends at the highest port.

Invariants  What is there already is left as it is; what is not ours is never touched, but for the
            end of the node's range of ports, which stays.
Standards   ip-rule(8), rtnetlink(7), nft(8) "socket" expression
"""

import errno
import subprocess

from cairn.abi.structs import MARK_MASK, MARK_TO_PROXY
from cairn.desired.proxy import LISTENER_PORTS, PORT_SHIFT, PROXY_PORTS
from cairn.linux import sysctl
from cairn.netlink.iproute import IPRoute, NetlinkError

ROUTE_TABLE = 2005
PRIORITY = 20
"""Of the rule: behind that of the node's own addresses."""
TABLE = "cairn_proxy"
_FAMILIES = {2: "0.0.0.0/0", 10: "::/0"}
_PORT_RANGE = "net/ipv4/ip_local_port_range"
_LOCAL = "local"
_NO_SUCH = (errno.ENOENT, errno.ESRCH, errno.EAFNOSUPPORT)


def sockets_rules() -> str:
    """Return the nftables script that gives packets to the transparent sockets they are for.

    A client may use a port again while its last connection to the same destination is still being
    forgotten (TIME-WAIT). The kernel forgets it at once for its own listeners, but not where the
    data plane has chosen one; `tproxy` does for the listener that the packet has.
    """
    opens = f"meta mark & {MARK_MASK:#x} == {MARK_TO_PROXY:#x} tcp flags & (syn | ack) == syn"
    ports = ", ".join(f"{port << PORT_SHIFT:#x} : {port}" for port in LISTENER_PORTS)
    mark = f"meta mark set meta mark & {0xFFFFFFFF & ~MARK_MASK:#x} | {MARK_TO_PROXY:#x}"
    return "\n".join(
        [
            f"table inet {TABLE} {{}}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            "  map ports {",
            "    type mark : inet_service;",
            f"    elements = {{ {ports} }}",
            "  }",
            "  chain sockets {",
            "    type filter hook prerouting priority dstnat + 10;",
            f"    {opens} tproxy ip to 127.0.0.1:socket mark map @ports accept",
            f"    {opens} tproxy ip6 to [::1]:socket mark map @ports accept",
            f"    meta l4proto {{ tcp, udp }} socket transparent 1 {mark}",
            "  }",
            "}",
            "",
        ]
    )


def prepare_proxy_path() -> list[str]:
    """Make the way; return what failed."""
    failed: list[str] = []
    with IPRoute() as kernel:
        loopback = kernel.link_lookup(ifname="lo")[0]
        for family, everything in _FAMILIES.items():
            try:
                kernel.route("replace", family=family, table=ROUTE_TABLE, type=_LOCAL,
                             scope="host", dst=everything, oif=loopback)  # fmt: skip
                kernel.rule("add", **_rule(family))
            except NetlinkError as error:
                if error.code not in (errno.EEXIST, errno.EAFNOSUPPORT):
                    failed.append(f"route to the proxies: {error}")
    return failed + _widen_ports() + _load(sockets_rules())


def remove_proxy_path() -> list[str]:
    """Take the way back; return what failed."""
    failed: list[str] = []
    with IPRoute() as kernel:
        for family in _FAMILIES:
            try:
                kernel.rule("del", **_rule(family))
            except NetlinkError as error:
                if error.code not in _NO_SUCH:
                    failed.append(f"removal of the rule for the proxies: {error}")
            kernel.flush_routes(family=family, table=ROUTE_TABLE)
    return failed + _load(f"table inet {TABLE} {{}}\ndelete table inet {TABLE}\n")


def _rule(family: int) -> dict[str, int]:
    return {
        "family": family,
        "table": ROUTE_TABLE,
        "priority": PRIORITY,
        "fwmark": MARK_TO_PROXY,
        "fwmask": MARK_MASK,
    }


def _widen_ports() -> list[str]:
    """Have the node's range of ports for its own connections hold the proxy's."""
    first, last = (sysctl.read_setting(_PORT_RANGE) or "32768 60999").split()
    if int(last) >= PROXY_PORTS[1]:
        return []
    try:
        sysctl.write_settings({_PORT_RANGE: f"{first}\t{PROXY_PORTS[1]}"})
    except OSError as error:
        return [f"the proxy's ports may be those of its clients: {error}"]
    return []


def _load(script: str) -> list[str]:
    try:
        done = subprocess.run(["nft", "-f", "-"], input=script, text=True, capture_output=True)
    except FileNotFoundError:
        return ["nft is not installed: proxies get no answers from outside (apt install nftables)"]
    return [f"nft: {line}" for line in done.stderr.splitlines() if line] if done.returncode else []
