"""How far a node's flows were read.

Piece  ->  Position  ->  Start, after a restart too
"""

import msgspec


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Where to go on in a node's store."""

    store: str = ""
    """Names the store: a restarted agent has another."""
    sequence: int = 0
    """Number of the first flow that is wanted."""


Positions = dict[str, Position]
"""By the node's name."""
