"""The arithmetic of rolling updates.

    desired, limits, replica sets  ->  their next sizes        limits as int or "25%"  ->  numbers

Invariants  Never more than desired + surge pods are wanted, and never so many are taken away that
            fewer than desired - unavailable remain available. Each step can be followed by another
            until only the new set is left.
Standards   Kubernetes apps/v1 DeploymentStrategy, DaemonSetUpdateStrategy
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """A replica set in a rollout."""

    name: str
    """Its name."""
    wanted: int
    """spec.replicas."""
    available: int
    """Of them, available."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a rollout may deviate."""

    surge: int
    """Pods above the desired number."""
    unavailable: int
    """Pods below it."""


def limits(desired: int, surge: int | str | None, unavailable: int | str | None) -> Limits:
    """Return the limits as numbers; both zero would stop every rollout, so one may be missing."""
    more = _resolve("25%" if surge is None else surge, desired, up=True)
    fewer = _resolve("25%" if unavailable is None else unavailable, desired, up=False)
    return Limits(more, fewer if more or fewer else 1)


def next_sizes(desired: int, bounds: Limits, new: Size, olds: Sequence[Size]) -> Mapping[str, int]:
    """Return the sizes that the sets should have next; `olds` are in order of age."""
    total = new.wanted + sum(old.wanted for old in olds)
    room = max(0, desired + bounds.surge - total)
    sizes = {new.name: min(desired, new.wanted + room)}
    least = desired - bounds.unavailable
    grown = sizes[new.name]
    missing = max(0, min(new.wanted, grown) - new.available)
    may_go = total - least - missing
    for old in olds:  # broken pods first: taking them away costs nothing
        broken = min(max(0, old.wanted - old.available), max(0, may_go))
        sizes[old.name] = old.wanted - broken
        may_go -= broken
    spare = new.available + sum(min(old.available, sizes[old.name]) for old in olds) - least
    may_go = min(may_go, spare)
    for old in olds:
        going = min(sizes[old.name], max(0, may_go))
        sizes[old.name] -= going
        may_go -= going
    return sizes


def replaceable(outdated: Mapping[str, bool], *, unavailable: int, budget: int) -> list[str]:
    """Return which outdated pods of a DaemonSet to delete now.

    `outdated` maps pod names to whether they are available; `unavailable` nodes lack an
    available pod already, theirs included.
    """
    gone = [name for name, available in sorted(outdated.items()) if not available]
    left = max(0, budget - unavailable)
    going = [name for name, available in sorted(outdated.items()) if available][:left]
    return gone + going


def _resolve(value: int | str, total: int, *, up: bool) -> int:
    if isinstance(value, int):
        return max(0, value)
    text = value.strip()
    if not text.endswith("%"):
        return max(0, int(text))
    product = total * int(text[:-1])
    return max(0, -(-product // 100) if up else product // 100)
