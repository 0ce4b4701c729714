"""What the nodes' agents find on their segments: free addresses, strangers, conflicts.

    addresses that are due  ->  annotation cairn.io/probe of one live CiliumNode per segment
    annotation cairn.io/probed, status.l2 of CiliumNodes  ->  Proof, conflicts

Invariants  A node has one question at a time; what comes meanwhile goes into the next.
            A node that does not answer in time is given up for another, and after that the
            address counts as unproven: nobody waits for more than twice the patience.
Not here    Giving addresses (operator.ipam), probing (agent.l2).
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from cairn.compile.ipam_proof import Proof, Slot, spans_of
from cairn.drive.informer import Informer
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key
from cairn.kube.node import NodeFacts
from cairn.kube.probe_request import ProbeRequest, probe_answer_of, write_request
from cairn.kube.resource import CILIUM_NODES
from cairn.net import Address, parse_address

PATIENCE_S = 1.0
MOST_NODES = 2
MOST_AT_ONCE = 256
REMEMBER_S = 120.0
"""How long what a probe found is believed."""

log = logging.getLogger(__name__)

Raw = dict[str, Any]
Conflict = tuple[str, str]
"""Ethernet address of the stranger, and the node that heard it."""


class Segments:
    """Asks the nodes, and remembers what they said."""

    def __init__(
        self,
        client: Client,
        *,
        is_ready: Callable[[str], bool],
        on_proof: Callable[[], None],
        on_conflicts: Callable[[Mapping[Address, Conflict]], None] = lambda _: None,
    ) -> None:
        """Follow the CiliumNodes; `is_ready` tells of a node by name."""
        self._client = client
        self._is_ready = is_ready
        self._on_proof = on_proof
        self._on_conflicts = on_conflicts
        self._facts: dict[str, NodeFacts] = {}
        self._heard: dict[str, dict[Address, str]] = {}
        self._strangers: dict[Slot, str] = {}
        self._known: dict[Slot, tuple[bool, float]] = {}
        self._tried: dict[Slot, list[str]] = {}
        self._pending: defaultdict[str, list[Slot]] = defaultdict(list)
        self._asked: dict[str, tuple[str, asyncio.Future[Mapping[Address, str]]]] = {}
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._informer = Informer(client, CILIUM_NODES, on_change=self._node_changed)

    async def run(self) -> None:
        """Follow the nodes until cancelled."""
        await self._informer.run()

    async def synced(self) -> None:
        """Wait until every node is known."""
        await self._informer.synced.wait()

    def proof(self) -> Proof:
        """Return what is known now."""
        now = asyncio.get_running_loop().time()
        self._known = {slot: known for slot, known in self._known.items() if known[1] > now}
        return Proof(
            spans=spans_of(
                network
                for name, facts in self._facts.items()
                if self._is_ready(name)
                for network in facts.uplink_networks
            ),
            free=frozenset(slot for slot, (proven, _) in self._known.items() if proven),
            unproven=frozenset(slot for slot, (proven, _) in self._known.items() if not proven),
            strangers=dict(self._strangers),
            stale=frozenset(self._strangers.keys() - self._known.keys()),
        )

    def ask(self, due: Iterable[Slot]) -> None:
        """Have addresses probed; those that are being probed already stay so."""
        for slot in due:
            if slot not in self._tried:
                self._tried[slot] = []
                self._ask_next(slot)
        for node in list(self._pending):
            self._start(node)

    def _ask_next(self, slot: Slot) -> None:
        """Have another node probe an address, or give up."""
        tried = self._tried[slot]
        node = self._node_for(slot, tried) if len(tried) < MOST_NODES else ""
        if not node:
            del self._tried[slot]
            self._strangers.pop(slot, None)
            self._remember(slot, proven=False)
            log.warning("%s is not probed: no node of its subnet answered", _address(slot))
            self._on_proof()
            return
        tried.append(node)
        self._pending[node].append(slot)

    def _node_for(self, slot: Slot, tried: Iterable[str]) -> str:
        address = _address(slot)
        for name in sorted(self._facts.keys() - set(tried)):
            on_it = any(address in network for network in self._facts[name].uplink_networks)
            if on_it and self._is_ready(name):
                return name
        return ""

    def _start(self, node: str) -> None:
        if node not in self._asked and self._pending[node]:
            task = asyncio.get_running_loop().create_task(self._question(node))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _question(self, node: str) -> None:
        slots, self._pending[node] = (
            self._pending[node][:MOST_AT_ONCE],
            self._pending[node][MOST_AT_ONCE:],
        )
        loop = asyncio.get_running_loop()
        self._number += 1
        number = f"{loop.time():.3f}-{self._number}"
        answer: asyncio.Future[Mapping[Address, str]] = loop.create_future()
        self._asked[node] = number, answer
        request = ProbeRequest(number, tuple(map(_address, slots)))
        patch = {"metadata": {"annotations": write_request(request)}}
        found: Mapping[Address, str] = {}
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._client.patch(CILIUM_NODES, Key("", node), patch)
                found = await answer
        except (ApiError, TimeoutError) as error:
            why = error.message if isinstance(error, ApiError) else "no answer in time"
            log.warning("node %s does not probe %d addresses: %s", node, len(slots), why)
        finally:
            del self._asked[node]
        self._take(slots, found)

    def _take(self, slots: Iterable[Slot], found: Mapping[Address, str]) -> None:
        for slot in slots:
            mac = found.get(_address(slot))
            if mac is None:
                self._ask_next(slot)
                continue
            del self._tried[slot]
            if mac:
                self._strangers[slot] = mac
                # Who waits for just this address asks again when the news is old.
                loop = asyncio.get_running_loop()
                loop.call_later(REMEMBER_S + PATIENCE_S, self._on_proof)
            else:
                self._strangers.pop(slot, None)
            self._remember(slot, proven=not mac)
        for node in list(self._pending):
            self._start(node)
        self._on_proof()

    def _remember(self, slot: Slot, *, proven: bool) -> None:
        now = asyncio.get_running_loop().time()
        self._known[slot] = proven, now + REMEMBER_S

    def _node_changed(self, key: Key, _old: Raw | None, new: Raw | None) -> None:
        before = self._facts.pop(key.name, None)
        if new is None:
            self._hear(key.name, {})
            self._on_proof()
            return
        facts = self._facts[key.name] = NodeFacts.from_object(new)
        if before is None or before.uplink_networks != facts.uplink_networks:
            self._on_proof()
        self._hear(key.name, _conflicts(new))
        answer = probe_answer_of(new)
        number, future = self._asked.get(key.name, ("", None))
        if answer is None or future is None or answer.number != number or future.done():
            return  # of another time, or another operator
        future.set_result(answer.found)

    def _hear(self, node: str, conflicts: dict[Address, str]) -> None:
        if self._heard.get(node, {}) == conflicts:
            return
        self._heard[node] = conflicts
        self._on_conflicts(
            {
                address: (mac, name)
                for name, found in sorted(self._heard.items())
                for address, mac in found.items()
            }
        )


def _conflicts(obj: Raw) -> dict[Address, str]:
    status = ((obj.get("status") or {}).get("l2") or {}).get("conflicts") or ()
    return {parse_address(item["address"]): str(item["mac"]) for item in status}


def _address(slot: Slot) -> Address:
    version, value = slot
    return IPv4Address(value) if version == 4 else IPv6Address(value)
