"""What became different since somebody last asked.

    every change of the engine  ->  Changes

Invariants  What is named may be as it was before, if it changed and changed back; what is not
            named is as it was.
"""

from dataclasses import dataclass, field

from cairn.compile.policy.group import host_network
from cairn.kube.metadata import Key
from cairn.net import Address, Network


@dataclass(frozen=True, slots=True)
class Changes:
    """What to compile and write again."""

    subjects: frozenset[int] = frozenset()
    """Identities of subjects whose policy may be another one."""
    networks: frozenset[Network] = frozenset()
    """Networks that have another identity now, or none of their own."""
    pods: frozenset[Key] = frozenset()
    """Pods that have another identity now, or are gone."""
    gone: frozenset[int] = frozenset()
    """Identities that were subjects and are none now."""

    def __bool__(self) -> bool:
        return bool(self.subjects or self.networks or self.pods or self.gone)


@dataclass(slots=True)
class Journal:
    """Changes as they come up."""

    networks: set[Network] = field(default_factory=set)
    """As in Changes."""
    addresses: set[Address] = field(default_factory=set)
    """Networks of one address: many, and smaller so."""
    pods: set[Key] = field(default_factory=set)
    """Likewise."""

    def take(self, subjects: frozenset[int], gone: frozenset[int]) -> Changes:
        """Return all that was entered, and begin anew."""
        networks = frozenset((*self.networks, *map(host_network, self.addresses)))
        changes = Changes(subjects, networks, frozenset(self.pods), gone)
        self.networks.clear()
        self.addresses.clear()
        self.pods.clear()
        return changes
