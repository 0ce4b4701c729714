"""Octets in and out: the one reader, the one writer and the one error of every codec.

    bytes  ->  Reader  ->  values          values  ->  Writer  ->  bytes

Invariants  A Reader never reads past its end: it raises Malformed, with the octet's offset.
            Nothing here knows a protocol.
"""

from cairn.wire.malformed import Malformed
from cairn.wire.reader import Reader
from cairn.wire.writer import Writer

__all__ = ["Malformed", "Reader", "Writer"]
