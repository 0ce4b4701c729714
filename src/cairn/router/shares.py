"""How next hops share a prefix's traffic, where their nodes say how much each can take.

    paths in use, with link-bandwidth communities  ->  weight by next hop

Invariants  Weights are relative, from 1 to 256, as the kernel takes them. One path that says
            nothing makes all equal: what it can take is not known.
Standards   draft-ietf-idr-link-bandwidth s3
"""

from collections.abc import Mapping, Sequence
from math import gcd

from cairn.bgp.event import Path
from cairn.net import Address

MAX_WEIGHT = 256


def shares(paths: Sequence[Path]) -> Mapping[Address, int]:
    """Return the weight of every next hop; empty if all are equal."""
    said: dict[Address, float] = {}
    for path in paths:
        bandwidth = _bandwidth(path)
        if not bandwidth or path.next_hop is None:
            return {}
        said[path.next_hop] = bandwidth
    return dict(zip(said, weights(tuple(said.values())), strict=True))


def weights(bandwidths: Sequence[float]) -> tuple[int, ...]:
    """Return weights in the ratio of positive numbers, the smallest that are exact or near it.

    >>> weights((2e9, 1e9, 1e9))
    (2, 1, 1)
    """
    if not bandwidths:
        return ()
    whole = [max(1, round(one)) for one in bandwidths]
    common = gcd(*whole)
    if max(whole) // common > MAX_WEIGHT:
        most = max(bandwidths)
        whole = [max(1, round(one * MAX_WEIGHT / most)) for one in bandwidths]
        common = gcd(*whole)
    return tuple(one // common for one in whole)


def _bandwidth(path: Path) -> float | None:
    marks = path.attributes.extended_communities
    return next((b for b in (m.bandwidth_bytes_per_s for m in marks) if b is not None), None)
