"""Compare two mappings by whole values.

    actual, desired: Mapping[K, V]  ->  Plan[K, V]

Cost        One pass over each side; nothing is copied but what differs.
Not here    The order of writes: make-before-break is the applier's knowledge.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Update(Generic[V]):
    """One value that is there but differs."""

    actual: V
    """What was found."""
    desired: V
    """What should be."""


@dataclass(frozen=True, slots=True)
class Plan(Generic[K, V]):
    """The writes that turn what is into what should be."""

    create: Mapping[K, V]
    """Keys that are missing."""
    update: Mapping[K, Update[V]]
    """Keys whose value differs."""
    delete: Mapping[K, V]
    """Keys that should not be there, with what was found."""

    @property
    def writes(self) -> dict[K, V]:
        """What must be written, whether it is missing or differs."""
        changed = {key: change.desired for key, change in self.update.items()}
        return {**self.create, **changed}

    def __bool__(self) -> bool:
        return bool(self.create or self.update or self.delete)


def plan(actual: Mapping[K, V], desired: Mapping[K, V]) -> Plan[K, V]:
    """Return what to create, update and delete so that `actual` becomes `desired`."""
    return Plan(
        create={key: value for key, value in desired.items() if key not in actual},
        update={
            key: Update(actual[key], value)
            for key, value in desired.items()
            if key in actual and actual[key] != value
        },
        delete={key: value for key, value in actual.items() if key not in desired},
    )
