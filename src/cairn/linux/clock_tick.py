"""How often the kernel's clock ticks: the rate of what it calls jiffies.

clock_getres(2) of the coarse clock, which advances with each tick  ->  ticks a second
"""

import time

_CLOCK_MONOTONIC_COARSE = 6


def ticks_per_s() -> float:
    """Return the kernel's HZ, as it was configured: 100 to 1000."""
    return 1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE)
