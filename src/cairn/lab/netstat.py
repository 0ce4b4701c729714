"""`netstat -r` on the lab's hosts, with every next hop of an ECMP route, of both families.

    `ip -json route`  ->  net-tools' columns, one line a next hop

net-tools reads /proc/net/route, in which Linux shows a route's first next hop only; a home router's
own netstat shows them all. `-6` or `-A inet6` shows IPv6, `-46` both. Any other use of netstat goes
to the real one.
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
HEADING6 = (
    "Kernel IPv6 routing table\n"
    "Destination                    Next Hop                   Flag Met Iface"
)
FAMILY_WORDS = {"inet": "4", "inet6": "6"}
_NONE = str(ipaddress.IPv4Address(0))
_NONE6 = str(ipaddress.IPv6Address(0))
_REJECT = ("unreachable", "prohibit", "blackhole")


def main(argv: Sequence[str]) -> int:
    """Print the routing tables, or become the real netstat."""
    letters = letters_of(argv)
    if "r" not in letters or not letters <= set("rn46"):
        return _become_real(argv)
    shown = []
    for version, heading, rows in (("4", HEADING, table), ("6", HEADING6, table6)):
        if version not in (letters & set("46") or "4"):
            continue
        found = subprocess.run(
            ["ip", "-json", f"-{version}", "route", "show"],
            capture_output=True,
            text=True,
            check=False,
        )
        if found.returncode != 0:
            sys.stderr.write(f"netstat: {found.stderr.strip()}\n")
            return 1
        shown += [heading, *rows(json.loads(found.stdout or "[]"))]
    sys.stdout.write("\n".join(shown) + "\n")
    return 0


def letters_of(argv: Sequence[str]) -> set[str]:
    """Return the one-letter options that the words amount to; "?" for a word of no such."""
    letters: set[str] = set()
    words = list(argv)
    while words:
        word = words.pop(0)
        name, _, value = word.partition("=")
        if word in ("-A", "--protocol", "--family"):
            value = words.pop(0) if words else ""
        if name in ("-A", "--protocol", "--family"):
            letters.add(FAMILY_WORDS.get(value, "?"))
        elif word.lstrip("-") in FAMILY_WORDS:
            letters.add(FAMILY_WORDS[word.lstrip("-")])
        elif word in ("--route", "--numeric"):
            letters.add(word[2])
        elif word[:1] == "-" and word[1:2] != "-":
            letters |= set(word[1:])
        else:
            letters.add("?")
    return letters


def table(routes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each next hop of each IPv4 route, as `ip -json route` tells of them."""
    for route in routes:
        text = f"{_NONE}/0" if route["dst"] == "default" else route["dst"]
        network = ipaddress.ip_network(text)
        for hop in route.get("nexthops") or [route]:
            yield (
                f"{network.network_address!s:<15} {hop.get('gateway') or _NONE:<15} "
                f"{network.netmask!s:<15} {_flags(route, hop, host=network.prefixlen == 32):<6}"
                f"    0 0          0 {hop.get('dev') or '*'}"
            )


def table6(routes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each next hop of each IPv6 route; addresses are never cut short."""
    for route in routes:
        text = f"{_NONE6}/0" if route["dst"] == "default" else route["dst"]
        network = ipaddress.ip_network(text)
        for hop in route.get("nexthops") or [route]:
            yield (
                f"{network!s:<30} {hop.get('gateway') or _NONE6:<26} "
                f"{_flags(route, hop, host=network.prefixlen == 128):<4} "
                f"{route.get('metric') or 0:<3} {hop.get('dev') or '*'}"
            )


def _flags(route: Mapping[str, Any], hop: Mapping[str, Any], *, host: bool) -> str:
    way = "U" + ("G" if hop.get("gateway") else "")
    return ("!" if route.get("type") in _REJECT else way) + ("H" if host else "")


def _become_real(argv: Sequence[str]) -> int:
    for path in REAL:
        if Path(path).exists():
            os.execv(path, ["netstat", *argv])  # noqa: S606  (no shell, on purpose)
    sys.stderr.write("netstat is missing; install it: apt-get install net-tools\n")
    return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
