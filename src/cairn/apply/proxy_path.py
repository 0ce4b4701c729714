"""The way of packets to the proxies on this node: a mark's route to the node itself.

    needed or not  ->  ip rules, routes of one table, nftables table `cairn_proxy`

The data plane marks what it gives to a proxy, and the mark's own table delivers every address
locally. Answers that masquerade translates back are recognised behind it, by the transparent socket
that waits for them.

Invariants  What is there already is left as it is; what is not ours is never touched.
Standards   ip-rule(8), rtnetlink(7), nft(8) "socket" expression
"""

import errno
import subprocess

from cairn.abi.structs import MARK_MASK, MARK_TO_PROXY
from cairn.netlink.iproute import IPRoute, NetlinkError

ROUTE_TABLE = 2005
PRIORITY = 20
"""Of the rule: behind that of the node's own addresses."""
TABLE = "cairn_proxy"
_FAMILIES = {2: "0.0.0.0/0", 10: "::/0"}
_LOCAL = "local"
_NO_SUCH = (errno.ENOENT, errno.ESRCH, errno.EAFNOSUPPORT)


def sockets_rule() -> str:
    """Return the nftables script that gives answers to the transparent sockets they are for."""
    mark = f"meta mark set meta mark & {0xFFFFFFFF & ~MARK_MASK:#x} | {MARK_TO_PROXY:#x}"
    return "\n".join(
        [
            f"table inet {TABLE} {{}}",
            f"delete table inet {TABLE}",
            f"table inet {TABLE} {{",
            "  chain answers {",
            "    type filter hook prerouting priority dstnat + 10;",
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
    return failed + _load(sockets_rule())


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


def _load(script: str) -> list[str]:
    try:
        done = subprocess.run(["nft", "-f", "-"], input=script, text=True, capture_output=True)
    except FileNotFoundError:
        return ["nft is not installed: proxies get no answers from outside (apt install nftables)"]
    return [f"nft: {line}" for line in done.stderr.splitlines() if line] if done.returncode else []
