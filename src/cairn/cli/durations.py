"""Lengths of time as people write them.

24h  ->  timedelta
"""

import argparse
import re
from datetime import timedelta

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"(\d{1,9})([smhd])")


def duration(text: str) -> timedelta:
    """Return the time that `90s`, `5m`, `24h` or `7d` spells; for argparse."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 90s, 5m, 24h or 7d")
    return timedelta(seconds=int(match.group(1)) * UNITS_S[match.group(2)])
