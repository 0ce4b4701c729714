"""This node's part in answering ARP and neighbour discovery for Services' addresses.

    policies, nodes, BFD  ->  elect(address) for the map of addresses
    addresses that this node answers for  ->  announcements, checks, CiliumNode status

The data plane gives the answers. Here is decided which; the segment is told when an address
comes to this node; and whether someone else answers too is looked at by asking.

Invariants  An election is made from the same facts on every node (compile.l2), without a lease.
            Nothing is elected before the cluster's objects and the speaker's sessions are known,
            so that a restart gives up no address.
            Another node of ours that answers too is logged; anyone else is a conflict, which the
            operator tells at the Service.
Standards   RFC 5227 s2.3 (announcing), s2.4 (defending: at most once in ten seconds)
Not here    The answers (bpf/lib/ping.h, bpf/lib/neighbour.h).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from cairn.agent.bfd_watch import BfdWatch
from cairn.agent.l2_cluster import L2Cluster
from cairn.agent.l2_status import L2Status
from cairn.agent.segment import Segment
from cairn.apply.uplink import Uplink
from cairn.compile.l2 import Claims, L2Node, L2View, neighbours
from cairn.desired.routes import BfdNeighbour
from cairn.drive.kube_client import ApiError, Client
from cairn.ethernet.claim import Claim
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.probe_request import ProbeAnswer, ProbeRequest, write_answer
from cairn.kube.resource import CILIUM_NODES
from cairn.kube.service import Service
from cairn.net import Address, parse_mac

FIRST_CHECK_S = 3.0
CHECK_S = 30.0
DEFEND_S = 10.0
SPEAKER_PATIENCE_S = 1.0
"""How long the first election waits for the speaker to tell who is dead."""
ANSWER_ATTEMPTS = 3

log = logging.getLogger("l2")


class L2:
    """One node's announcer."""

    def __init__(
        self,
        client: Client,
        services: Mapping[Key, Service],
        facts: NodeFacts,
        uplink: Uplink,
        speaker: Path,
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None
        """Called when every election must be held again."""
        self.on_neighbours: Callable[[tuple[BfdNeighbour, ...]], None] = lambda _: None
        """Called with the nodes that BFD is to watch."""
        self._client = client
        self._services = services
        self._facts = facts
        self._uplink = uplink
        self._watch = BfdWatch(speaker, self._changed)
        self._cluster = L2Cluster(
            client,
            facts.name,
            on_change=self._changed,
            on_ready=self._ready_again,
            on_request=self._requested,
        )
        self._segment = Segment(uplink, self._heard)
        self._status = L2Status(client, facts.name)
        self._view: L2View | None = None
        self._requests: asyncio.Queue[ProbeRequest] = asyncio.Queue()
        self._answered: frozenset[Address] = frozenset()
        self._check = asyncio.Event()
        self._defended: dict[Address, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def elect(self, address: Address, claims: Claims) -> str | None:
        """Return the node that answers for an address; None if none does."""
        if self._view is None:
            self._view = self._look()
        return self._view.elect(address, claims, self._services)

    def answer(self, addresses: frozenset[Address]) -> None:
        """Take the addresses that this node answers for from now on."""
        fresh = addresses - self._answered
        self._answered = addresses
        self._segment.listen_for(addresses)
        self._status.answer(addresses)
        if fresh:
            log.info("answering for %s", ", ".join(map(str, sorted(fresh, key=_order))))
            self._announce(fresh)
            self._check.set()

    async def run(self, started: asyncio.Event) -> None:
        """Work until cancelled; `started` is set when elections can be held."""
        async with asyncio.TaskGroup() as group:
            for runner in self._cluster.runners():
                group.create_task(runner)
            group.create_task(self._watch.run())
            await self._cluster.synced()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SPEAKER_PATIENCE_S):
                    await self._watch.told.wait()
            self._changed()
            started.set()
            group.create_task(self._segment.run())
            group.create_task(self._status.run())
            group.create_task(self._check_loop())
            group.create_task(self._request_loop())

    def _look(self) -> L2View:
        nodes = {
            name: L2Node(
                facts,
                self._labels(name),
                alive=name == self._facts.name or self._is_alive(facts),
            )
            for name, facts in self._cluster.facts.items()
        }
        own = L2Node(self._facts, self._labels(self._facts.name), alive=True)
        nodes.setdefault(self._facts.name, own)
        policies = tuple(self._cluster.policies.values())
        return L2View(policies, nodes, self._uplink.networks)

    def _labels(self, name: str) -> Mapping[str, str]:
        node = self._cluster.nodes.get(name)
        return node.metadata.labels if node else {}

    def _is_alive(self, facts: NodeFacts) -> bool:
        if any(self._watch.is_dead(address) for address in facts.internal_ips):
            return False
        if any(address in self._watch.up for address in facts.internal_ips):
            return True
        node = self._cluster.nodes.get(facts.name)
        return node is not None and node.ready

    def _changed(self) -> None:
        before, self._view = self._view, self._look()
        self.on_neighbours(
            neighbours(
                self._facts.name,
                self._uplink.addresses,
                self._uplink.networks,
                self._cluster.facts.values(),
            )
        )
        if before is None or before == self._view:
            return
        back = {n for n, node in self._view.nodes.items() if node.alive} - {
            n for n, node in before.nodes.items() if node.alive
        }
        gone = {n for n, node in before.nodes.items() if node.alive} - {
            n for n, node in self._view.nodes.items() if node.alive
        }
        for name in sorted(gone):
            log.warning("node %s is gone from the segment", name)
        for name in sorted(back):
            log.info("node %s is on the segment", name)
        held = self._answered
        self.on_change()
        if back:
            # A node that was cut off may have told its side of the segment otherwise.
            self._announce(held & self._answered)

    def _ready_again(self, name: str) -> None:
        facts = self._cluster.facts.get(name)
        for address in facts.internal_ips if facts else ():
            self._watch.forget(address)

    def _requested(self, request: ProbeRequest) -> None:
        self._requests.put_nowait(request)

    # What the segment says.

    def _announce(self, addresses: Iterable[Address]) -> None:
        task = asyncio.get_running_loop().create_task(self._segment.announce(addresses))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _heard(self, claim: Claim) -> None:
        if claim.address not in self._answered or self._node_of(claim.mac):
            return  # one of ours that takes an address over says so
        self._status.conflict(claim.address, claim.mac)
        now = asyncio.get_running_loop().time()
        if now - self._defended.get(claim.address, -DEFEND_S) >= DEFEND_S:
            self._defended[claim.address] = now
            self._announce((claim.address,))

    def _node_of(self, mac: bytes) -> str:
        for name, facts in self._cluster.facts.items():
            if facts.uplink_mac and parse_mac(facts.uplink_mac) == mac:
                return name
        return ""

    async def _check_loop(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_S):
                    await self._check.wait()
                    await asyncio.sleep(FIRST_CHECK_S)
            self._check.clear()
            asked = self._answered
            found = await self._segment.probe(asked)
            for address in asked & self._answered:
                self._judge(address, found.get(address))

    def _judge(self, address: Address, mac: bytes | None) -> None:
        node = self._node_of(mac) if mac else ""
        if node:
            log.warning("node %s answers for %s, as this one does", node, address)
        if mac is None or node:
            self._status.settle(address)
        else:
            self._status.conflict(address, mac)

    async def _request_loop(self) -> None:
        while True:
            request = await self._requests.get()
            here = [a for a in request.addresses if any(a in n for n in self._uplink.networks)]
            found = await self._segment.probe(here)
            strangers = {a: mac for a, mac in found.items() if not self._node_of(mac)}
            for address, mac in strangers.items():
                log.warning("%s is not free: %s answers for it", address, mac.hex(":"))
            answer = ProbeAnswer(
                request.number, {a: strangers[a].hex(":") if a in strangers else "" for a in here}
            )
            await self._write(answer)

    async def _write(self, answer: ProbeAnswer) -> None:
        patch = {"metadata": {"annotations": write_answer(answer)}}
        for _ in range(ANSWER_ATTEMPTS):
            try:
                await self._client.patch(CILIUM_NODES, Key("", self._facts.name), patch)
            except ApiError as error:
                log.warning("what was probed is not written: %s", error.message)
                await asyncio.sleep(FIRST_CHECK_S / ANSWER_ATTEMPTS)
            else:
                return


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)
