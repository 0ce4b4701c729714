"""Segments that the kernel drops for their TCP MD5 signature: otherwise nobody sees them.

    /proc/net/netstat  ->  counts by reason, and what is new since the last look

Standards   RFC 2385 s2.0 (dropped in silence); linux/net/ipv4/proc.c (TCPMD5 counters)
"""

from collections.abc import Mapping
from pathlib import Path

NETSTAT = Path("/proc/self/net/netstat")

MEANING = {
    "TCPMD5NotFound": "without the password that this side demands",
    "TCPMD5Unexpected": "with a password that this side does not know of",
    "TCPMD5Failure": "with a wrong password",
}
"""What the kernel's counters say, in words."""


def parse_netstat(text: str) -> dict[str, int]:
    """Return the counters of the group TcpExt that tell about passwords."""
    rows = [line.split() for line in text.splitlines() if line.startswith("TcpExt:")]
    if len(rows) < 2:
        return {}
    counters = dict(zip(rows[0], rows[1], strict=False))
    return {name: int(counters[name]) for name in MEANING if name in counters}


def read_password_drops() -> dict[str, int]:
    """Return the counters of this network namespace; none if the kernel shows none."""
    try:
        return parse_netstat(NETSTAT.read_text())
    except OSError:
        return {}


def describe_growth(before: Mapping[str, int], now: Mapping[str, int]) -> list[str]:
    """Return a line for each reason whose count grew."""
    return [
        f"BGP connections fail: {count - before.get(name, 0)} TCP segments arrived {MEANING[name]}"
        for name, count in now.items()
        if count > before.get(name, 0)
    ]
