"""A clock that moves only when told, for tests of machines.

    advance(seconds)  ->  now

Units       seconds
"""


class VirtualClock:
    """Time as a number; `now` starts at `start`."""

    def __init__(self, start: float = 1000.0) -> None:
        self.now = start

    def advance(self, seconds: float) -> float:
        """Move forward by `seconds` and return the new time."""
        if seconds < 0:
            raise ValueError(f"a clock cannot go back: {seconds} s")
        self.now += seconds
        return self.now
