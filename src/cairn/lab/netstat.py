"""`netstat -r` on the lab's hosts, with every next hop of an ECMP route.

    `ip -json route`  ->  net-tools' columns, one line a next hop

net-tools reads /proc/net/route, in which Linux shows a route's first next hop only; a home router's
own netstat shows them all. Any other use of netstat goes to the real one.
"""

import ipaddress
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

REAL = ("/bin/netstat", "/usr/bin/netstat")
HEADING = (
    "Kernel IP routing table\n"
    "Destination     Gateway         Genmask         Flags   MSS Window  irtt Iface"
)
_NONE = str(ipaddress.IPv4Address(0))
_REJECT = ("unreachable", "prohibit", "blackhole")


def main(argv: Sequence[str]) -> int:
    """Print the routing table, or become the real netstat."""
    letters = {c for word in argv if word[:1] == "-" and word[1:2] != "-" for c in word[1:]}
    if "--route" in argv:
        letters.add("r")
    if "r" not in letters or not letters <= set("rn4"):
        return _become_real(argv)
    found = subprocess.run(
        ["ip", "-json", "-4", "route", "show"], capture_output=True, text=True, check=False
    )
    if found.returncode != 0:
        sys.stderr.write(f"netstat: {found.stderr.strip()}\n")
        return 1
    sys.stdout.write("\n".join([HEADING, *table(json.loads(found.stdout or "[]"))]) + "\n")
    return 0


def table(routes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each next hop of each route, as `ip -json route` tells of them."""
    for route in routes:
        text = f"{_NONE}/0" if route["dst"] == "default" else route["dst"]
        network = ipaddress.ip_network(text)
        rejected = route.get("type") in _REJECT
        for hop in route.get("nexthops") or [route]:
            gateway = hop.get("gateway")
            host = "H" if network.prefixlen == network.max_prefixlen else ""
            flags = "!" + host if rejected else "U" + ("G" if gateway else "") + host
            yield (
                f"{network.network_address!s:<15} {gateway or _NONE:<15} "
                f"{network.netmask!s:<15} {flags:<6}    0 0          0 {hop.get('dev') or '*'}"
            )


def _become_real(argv: Sequence[str]) -> int:
    for path in REAL:
        if Path(path).exists():
            os.execv(path, ["netstat", *argv])  # noqa: S606  (no shell, on purpose)
    sys.stderr.write("netstat is missing; install it: apt-get install net-tools\n")
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
