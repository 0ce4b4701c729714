"""Policies in force on one node: what changed is compiled, written, and whoever waits is told.

    PolicyCluster, CNI ADD and DEL  ->  Engine  ->  PolicyMaps, Redirects

Order       Subjects before networks before pods, in pieces of at most BUDGET_S between which the
            event loop serves others. Until all that an earlier agent left has been compared with
            what is now, nothing of it is removed, and pods stay as they were.
Invariants  A pod is closed until its policy is in the maps; CNI ADD answers after that.
            A policy that does not fit closes the pods that it is about, until there is room.
Cost        a change costs in proportion to what it touches on this node
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from cairn.abi.structs import Identity
from cairn.agent.policy_admission import Admission
from cairn.agent.policy_cluster import PolicyCluster
from cairn.agent.policy_pods import PolicyPods
from cairn.agent.policy_troubles import PolicyTroubles
from cairn.agent.redirects import Redirects
from cairn.apply.policy_maps import PolicyChange, PolicyMaps
from cairn.compile.policy.engine import Engine
from cairn.desired.endpoint import PodEndpoint
from cairn.desired.policy import SubjectPolicy
from cairn.drive.metrics_text import Histogram
from cairn.kube.metadata import Key
from cairn.libbpf import BpfError
from cairn.net import Address, Network

BUDGET_S = 0.01
"""How long the event loop does nothing else."""
AT_ONCE = 1000
"""Networks that are written together."""
TIDY_S = 0.25
RETRY_S = 1.0
HOST, UNMANAGED = int(Identity.HOST), int(Identity.UNMANAGED)

T = TypeVar("T")

log = logging.getLogger("policy")


class PolicyKeeper:
    """Keeps one node's maps as the policies say."""

    def __init__(
        self,
        engine: Engine,
        cluster: PolicyCluster,
        pods: PolicyPods,
        maps: PolicyMaps,
        redirects: Redirects,
        *,
        admission: Admission,
        troubles: PolicyTroubles,
    ) -> None:
        self._engine = engine
        self._cluster = cluster
        self._pods = pods
        self._maps = maps
        self._redirects = redirects
        self._admission = admission
        self._troubles = troubles
        self._subjects: dict[int, None] = {}
        self._networks: dict[Network, None] = {}
        self._moved: dict[Key, None] = {}
        self._failed: frozenset[str] = frozenset()
        self.ready = False
        """Whether all policies have been brought into force once."""
        self.before_compile: Callable[[], None] = lambda: None
        """Called when objects have changed, before what follows from them is compiled."""
        self.on_written: Callable[[], None] = lambda: None
        """Called when what changed has been written."""
        self.on_applied: Callable[[PolicyChange], None] = lambda _: None
        """Called when a piece of what changed has been written."""
        self.took = Histogram()
        """From news of policies, pods and names until the maps say so."""
        redirects.on_served = self._served
        redirects.on_ended = self._ended
        admission.on_wire = self._wired

    @property
    def failures(self) -> frozenset[str]:
        """What could not be put in force, in words."""
        return self._failed

    async def start(self) -> None:
        """Bring all into force once, and remove what an earlier agent left that is no more."""
        began = time.monotonic()
        await self._cluster.synced()
        read = time.monotonic()
        self._take_changes()
        self._everything()
        await self._write()
        self._maps.keep_networks((*self._engine.identities(), *self._cluster.pod_networks()))
        self.ready = True
        log.info(
            "%d policies: read in %.2f s, in force after %.2f s more",
            sum(map(len, self._cluster.policies.values())),
            read - began,
            time.monotonic() - read,
        )

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        while True:
            try:
                await self._wait()
                began = time.monotonic()
                more = True
                while more:
                    more = self._cluster.drain(BUDGET_S)
                    self._take_changes()
                    await self._write()
                    await asyncio.sleep(0)
                self.took.observe(time.monotonic() - began)
            except (BpfError, ValueError, LookupError) as error:
                # What was half done is not known: the next pass does everything.
                self._report([f"policies are not as they should be: {error}"])
                self._everything()
                await asyncio.sleep(RETRY_S)
                self._cluster.changed.set()

    def look_again(self) -> None:
        """Compile and write what changed in the engine: somebody else changed something."""
        self._cluster.changed.set()

    def unwire(self, endpoint: PodEndpoint) -> None:
        """Take note that a wire is gone."""
        self._pods.unwire(endpoint)
        self._maps.apply(PolicyChange(endpoints=dict.fromkeys(endpoint.addresses)))
        self._cluster.changed.set()

    def _everything(self) -> None:
        self._subjects = dict.fromkeys((*self._engine.subjects(), HOST))
        self._networks |= dict.fromkeys(self._engine.identities())
        self._networks |= dict.fromkeys(self._cluster.pod_networks())
        self._moved = dict.fromkeys(self._pods.wired)

    def _wired(self, key: Key) -> None:
        self._moved[key] = None
        self._cluster.changed.set()

    def _served(self) -> None:
        """Write those that waited for a proxy."""
        if self._maps.waiting:
            self._subjects |= dict.fromkeys(self._maps.waiting)
            self._cluster.changed.set()

    def _ended(self, identity: int) -> None:
        """Write those of whom no connection is with a proxy any more."""
        self._subjects[identity] = None
        self._cluster.changed.set()

    async def _wait(self) -> None:
        """Wait for a change, or until something is to be tried again or cleared away."""
        pause_s = None
        if self._maps.untidy or self._redirects.settling:
            pause_s = TIDY_S
        elif self._maps.failed or self._maps.homeless or self._failed:
            pause_s = RETRY_S
        try:
            async with asyncio.timeout(pause_s):
                await self._cluster.changed.wait()
        except TimeoutError:
            self._clear_away()
        self._cluster.changed.clear()

    def _clear_away(self) -> None:
        """Remove what nobody needs, and try again what did not fit."""
        self._redirects.retain(self._maps.proxies)
        self._report(self._maps.tidy())
        self._subjects |= dict.fromkeys(self._maps.failed)
        self._networks |= dict.fromkeys(self._maps.homeless)

    def _take_changes(self) -> None:
        self.before_compile()
        changes = self._engine.changes()
        self._subjects |= dict.fromkeys(changes.subjects)
        self._networks |= dict.fromkeys(changes.networks)
        self._networks |= dict.fromkeys(self._cluster.moved_networks)
        self._cluster.moved_networks.clear()
        self._moved |= dict.fromkeys(changes.pods & self._pods.wired.keys())
        self._redirects.learn_for(self._engine.selectors())

    async def _write(self) -> None:
        """Write what changed, in pieces."""
        failed: list[str] = []
        for change in self._pieces():
            failed += self._maps.apply(change)
            self.on_applied(change)
            if self._subjects or self._networks:
                await asyncio.sleep(0)
        self._report(failed)
        self._troubles.look(self._maps, self._pods.wired, self._engine.identity_at)
        self._admission.look(self._maps.is_open)
        self.on_written()

    def _pieces(self) -> Iterator[PolicyChange]:
        """Yield what is to be written, one piece after the other."""
        moved, self._moved = self._moved, {}
        known = self._engine.subjects() | {HOST}
        wanted = self._identities(moved).values()
        self._subjects |= dict.fromkeys(i for i in wanted if not self._maps.holds(i))
        subjects: dict[int, SubjectPolicy | None] = self._compiled(known)
        while self._subjects:
            yield PolicyChange(subjects)
            subjects = self._compiled(known)
        while len(self._networks) > AT_ONCE:
            yield PolicyChange(subjects, self._some_networks())
            subjects = {}
        gone = dict.fromkeys(set(self._maps.subjects) - known)
        if subjects or gone or moved or self._networks:
            # Pods may have gone since, and their addresses may be others' now: asked again.
            moves = self._identities(moved)
            yield PolicyChange({**subjects, **gone}, self._some_networks(), moves)

    def _identities(self, keys: Iterable[Key]) -> dict[Address, int]:
        """Return the identities of pods of this node, by address."""
        found: dict[Address, int] = {}
        for key in keys:
            endpoint = self._pods.wired.get(key)
            if endpoint is None:
                continue
            # A wire whose pod nobody knows stays as it is.
            with contextlib.suppress(KeyError):
                self._engine.identity_of(key)
                found |= {a: self._engine.identity_at(a) for a in endpoint.addresses}
        return found

    def _compiled(self, known: frozenset[int]) -> dict[int, SubjectPolicy | None]:
        """Return the policies of some of the subjects that changed."""
        until = time.monotonic() + BUDGET_S
        found: dict[int, SubjectPolicy | None] = {}
        while self._subjects and time.monotonic() < until:
            identity = _first(self._subjects)
            del self._subjects[identity]
            if identity in known:
                found[identity] = self._engine.policy_of(identity)
        return found

    def _some_networks(self) -> dict[Network, int | None]:
        """Return the identities of some of the networks that changed.

        An address in a network of pods that is no pod's yet is nobody's, and not of the world.
        """
        identities, pods = self._engine.identities(), self._cluster.pod_networks()
        some = list(islice(self._networks, AT_ONCE))
        for network in some:
            del self._networks[network]
        return {
            network: UNMANAGED if network in pods else identities.get(network) for network in some
        }

    def _report(self, failed: Iterable[str]) -> None:
        now = frozenset(failed)
        for text in sorted(now - self._failed):
            log.error("%s; trying again", text)
        self._failed = now


def _first(items: Iterable[T]) -> T:
    return next(iter(items))
