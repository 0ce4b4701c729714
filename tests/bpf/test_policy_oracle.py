"""Random worlds through the whole way: raw policies, readers, engine, maps, programs, packets.

What the kernel's programs do with a packet is what the standards' texts say of it (tests/oracle).
CAIRN_ORACLE / 20 packets are sent in all.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

import packets
import pytest
import trial
from compiled import Compiled, compiled
from random_world import questions, random_world
from standards import PASSES, answer
from world import WITH_PORTS, Object, Question, World, name_of, pod_addresses

from cairn.abi.records import EVENT
from cairn.abi.structs import NAME_SELECTORS, Endpoint, EndpointFlag, NameKey, NamePage
from cairn.abi.verdicts import FIRST_DROP
from cairn.abi.verdicts import Verdict as Outcome
from cairn.apply.policy_maps import PolicyChange, PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.libbpf.ring import Ring

pytestmark = pytest.mark.bpf

CASES = int(os.environ.get("CAIRN_ORACLE", "20000")) // 20
PER_WORLD = 20
PROXY_PORT = 15001
SCTP_INIT = struct.pack("!BBHIIHHI", 1, 0, 20, 7, 65536, 1, 1, 1)
ECHO = {packets.ICMP: 8, packets.ICMP6: 128}
DENIALS = (Outcome.DROP_POLICY_DENIED, Outcome.DROP_POLICY_DEFAULT)
PROXIED = (Outcome.TO_PROXY, Outcome.DROP_PROXY_GONE)


@dataclass
class Node:
    """Loaded programs, and what reads their events."""

    trial: trial.Trial
    ring: Ring

    def forget_connections(self) -> None:
        """Have every packet be the first of a connection."""
        flows = self.trial.maps["policy_flows"]
        for key, _ in list(flows.items()):
            flows.delete(key)

    def send(self, frame: bytes, program: str) -> tuple[Outcome | None, int]:
        """Return what a frame was dropped under, with the number of the rule; None: it was not."""
        self.ring.drain()
        run = self.trial.run(frame, program)
        if program == "uplink_ingress" and run.verdict == trial.NEXT:
            # The node's own stack forwards it, through the program at the pod's interface.
            run = self.trial.run(frame, "pod_egress", came_by=trial.LOOPBACK)
        drops = [event for event in self.ring.drain() if event["verdict"] >= FIRST_DROP]
        if run.verdict != trial.DROP:
            assert drops == []
            return None, 0
        assert len(drops) == 1
        return Outcome(int(drops[0]["verdict"])), int(drops[0]["rule"])


@pytest.fixture
def node() -> Iterator[Node]:
    with trial.loaded() as made:
        for key, _ in list(made.maps["pools"].items()):
            made.maps["pools"].delete(key)  # strangers have these addresses here
        yield Node(made, Ring(made.maps["events"], EVENT))


def local_pods(world: World) -> list[Object]:
    """Return the pods whose interfaces the node has."""
    return [
        pod
        for pod in world.of_kind("Pod")
        if pod["spec"]["nodeName"] == world.here and not pod["spec"].get("hostNetwork")
    ]


def fill(node: Node, world: World, product: Compiled, rules: RuleNumbers) -> None:
    """Write a world into the maps, in the place of what they hold."""
    maps, engine = node.trial.maps, product.engine
    addresses = [address for pod in local_pods(world) for address in pod_addresses(pod)]
    for address in addresses:
        value = Endpoint(trial.LOOPBACK, trial.POD_MAC, trial.UPLINK, EndpointFlag.CLOSED, 0)
        maps["endpoints"].update(trial.key_of(str(address)), value.write())
    applier = PolicyMaps(maps, rules, lambda redirect, rule: PROXY_PORT)
    subjects = {identity: engine.policy_of(identity) for identity in engine.subjects()}
    change = PolicyChange(
        {**dict.fromkeys(applier.subjects), **subjects},
        engine.identities(),
        {address: engine.identity_at(address) for address in addresses},
    )
    assert applier.apply(change) == []
    applier.keep_networks(engine.identities())
    assert applier.tidy() == []
    for key, _ in list(maps["policy_names"].items()):
        maps["policy_names"].delete(key)
    for text in world.learnt:
        learnt = product.selectors_of(text)
        if learnt:
            zeros = [0] * (NAME_SELECTORS - len(learnt))
            page = NamePage(struct.pack(f"<{NAME_SELECTORS}I", *learnt, *zeros))
            maps["policy_names"].update(NameKey(ip_address(text), 0).write(), page.write())


def segment_of(asked: Question, source: str, target: str, sport: int) -> bytes:
    """Return the first packet of the connection that a question is about."""
    ends = (source, sport), (target, asked.port)
    if asked.protocol == packets.TCP:
        return packets.tcp(*ends, packets.SYN)
    if asked.protocol == packets.UDP:
        return packets.udp(*ends)
    if asked.protocol == packets.SCTP:
        return struct.pack("!HHII", sport, asked.port, 0, 0) + SCTP_INIT
    rest = struct.pack("!HH", sport, 1) + b"ping"
    if asked.protocol == packets.ICMP6:
        return packets.icmp6(source, target, ECHO[asked.protocol], rest=rest)
    if asked.protocol == packets.ICMP:
        return packets.icmp(ECHO[asked.protocol], rest=rest)
    return b"\0" * 16


def ends_of(world: World, asked: Question) -> tuple[str, str]:
    """Return the addresses of who opens the connection and of who is reached."""
    version = ip_address(asked.other).version
    pod = next(pod for pod in local_pods(world) if name_of(pod) == asked.subject)
    own = next(str(a) for a in pod_addresses(pod) if a.version == version)
    return (own, asked.other) if asked.direction == "egress" else (asked.other, own)


def expected(world: World, asked: Question) -> str:
    """Return the answer of both ends, as far as they are here: of who sends first."""
    source, target = ends_of(world, asked)
    names = {str(a): name_of(pod) for pod in local_pods(world) for a in pod_addresses(pod)}
    names |= dict.fromkeys(own_addresses(world), "")
    found = "allow"
    for direction, subject, other in (("egress", source, target), ("ingress", target, source)):
        if subject in names:
            both = Question(names[subject], direction, other, asked.protocol, asked.port)
            said = answer(world, both).action
            if said not in PASSES:
                return said
            found = "proxy" if "proxy" in (found, said) else "allow"
    return found


def own_addresses(world: World) -> list[str]:
    """Return the addresses of the node."""
    return [
        entry["address"]
        for node in world.of_kind("Node")
        if node["metadata"]["name"] == world.here
        for entry in node["status"]["addresses"]
    ]


def can_be_sent(world: World, asked: Question) -> bool:
    """Return whether a trial run shows it: echo stands for ICMP; the node is no pod."""
    from_node = asked.direction == "ingress" and asked.other in own_addresses(world)
    if not asked.subject or from_node:
        return False
    return asked.protocol not in ECHO or asked.port == ECHO[asked.protocol] << 8


def test_programs_do_what_the_texts_say(node: Node) -> None:
    sent, denied, sport, seed = 0, 0, 1024, 500_000
    while sent < CASES:
        seed += 1
        world = random_world(seed)
        product, rules = compiled(world), RuleNumbers({})
        fill(node, world, product, rules)
        local = {str(address) for pod in local_pods(world) for address in pod_addresses(pod)}
        for asked in questions(world, seed, PER_WORLD):
            if not can_be_sent(world, asked):
                continue
            sport = sport + 1 if sport < 60000 else 1025
            source, target = ends_of(world, asked)
            wrap = packets.ip6 if ":" in source else packets.ip4
            packet = wrap(
                segment_of(asked, source, target, sport),
                source=source,
                destination=target,
                protocol=asked.protocol,
            )
            if asked.protocol not in WITH_PORTS.values():
                node.forget_connections()  # all between two ends are one, whoever began
            program = "pod_ingress" if source in local else "uplink_ingress"
            mac = trial.POD_MAC if source in local else trial.ROUTER
            dropped, rule = node.send(trial.sent_by_pod(packet, mac=mac), program)
            said = expected(world, asked)
            label = f"seed {seed}: {asked}: {dropped and dropped.name} by {rules.ref(rule)}, {said}"
            if said in PASSES:
                assert dropped is None or (said == "proxy" and dropped in PROXIED), label
            else:
                assert dropped in DENIALS, label
                denied += 1
                assert rules.ref(rule) is not None, label
            sent += 1
    assert denied > sent // 20
