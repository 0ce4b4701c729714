"""What an agent did, as values, and the last of them.

    the agent's parts  ->  AgentEvents  ->  GetAgentEvents

Invariants  Memory is bounded: the oldest give way, and a reader that asked for them is told.
Standards   Cilium api/v1/flow/flow.proto, message AgentEvent
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

CAPACITY = 1024


@dataclass(frozen=True, slots=True)
class Started:
    """The agent began to serve."""


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """A policy came into force, changed, or ended."""

    labels: tuple[str, ...]
    """That name it, as those of decisions."""
    revision: int
    """Counts changes of policies on this node."""
    rules: int
    """How many it has."""
    deleted: bool = False
    """Whether it is in force no more."""


@dataclass(frozen=True, slots=True)
class EndpointChanged:
    """A pod was wired, or its wire is gone."""

    number: int
    """Of its interface on the node."""
    namespace: str
    """Of the pod."""
    pod: str
    """Its name."""
    labels: tuple[str, ...] = ()
    """Of its identity, where that is known."""
    deleted: bool = False
    """Whether it is gone."""


@dataclass(frozen=True, slots=True)
class Regenerated:
    """What policies say of a pod was written."""

    number: int
    """Of its interface on the node."""
    labels: tuple[str, ...]
    """Of its identity."""
    error: str = ""
    """Why it could not be; empty if it was."""


@dataclass(frozen=True, slots=True)
class AddressKnown:
    """An address, or a network, has an identity, or has none any more."""

    network: str
    """With its length."""
    identity: int
    """0: none any more."""
    namespace: str = ""
    """Of the pod that has the address."""
    pod: str = ""
    """Its name."""


AgentEvent = Started | PolicyChanged | EndpointChanged | Regenerated | AddressKnown


class Told(NamedTuple):
    """An event and when it was."""

    time_ns: int
    """Since 1970."""
    event: AgentEvent


class AgentEvents:
    """The last events of one agent."""

    def __init__(self, now_ns: Callable[[], int], capacity: int = CAPACITY) -> None:
        self._now_ns = now_ns
        self._kept: deque[Told] = deque(maxlen=capacity)
        self.next_sequence = 0
        """Number of the next one."""
        self.changed = asyncio.Event()
        """Set when there are new ones; whoever waits clears it first."""

    @property
    def first_sequence(self) -> int:
        """Number of the oldest that is kept."""
        return self.next_sequence - len(self._kept)

    def put(self, event: AgentEvent) -> None:
        """Take an event that just happened."""
        self._kept.append(Told(self._now_ns(), event))
        self.next_sequence += 1
        self.changed.set()

    def since(self, sequence: int) -> Iterator[Told]:
        """Return those from a number on that are kept, oldest first."""
        kept = tuple(self._kept)
        return iter(kept[max(0, sequence - self.first_sequence) :])
