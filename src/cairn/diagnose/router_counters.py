"""What the router's counters tell of now: what it ever dropped may be of old.

counters of two looks, what the peer's port says  ->  those that count
"""

from collections.abc import Mapping

CONNECTED = "connected"
"""What the port says to whoever brings no signature, while the speaker has no session."""


def growth(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, int]:
    """Return by how much each counter grew between two looks."""
    return {name: count - before.get(name, 0) for name, count in now.items()}


def of_now(
    port_answer: str, counters: Mapping[str, int], grew: Mapping[str, int]
) -> Mapping[str, int]:
    """Return the counts of segments dropped for their signature (RFC 2385) that are of now.

    They must have grown meanwhile, unless the port is open to whoever brings no signature and
    closed to the speaker: then the counts as they are tell why.
    """
    return counters if port_answer == CONNECTED else grew
