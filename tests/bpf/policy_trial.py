"""A node whose maps hold policies, written as the agent writes them, for trial runs.

policed()  ->  Policed: apply policies, send packets, read what became of them
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

import numpy as np
import packets
import trial

from cairn.abi.records import EVENT
from cairn.abi.structs import (
    ConfigFlag,
    Endpoint,
    EndpointFlag,
    FlowKey,
    PolicyAction,
    PolicyFlow,
    PolicyState,
    RuleCounters,
)
from cairn.abi.verdicts import Verdict as Outcome
from cairn.apply.policy_maps import PolicyChange, PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.desired.policy import DirectionPolicy, PortRange, SubjectPolicy, Table, Verdict
from cairn.kube.policy.rule import PolicyRef, RuleRef
from cairn.libbpf.ring import Ring
from cairn.net import parse_address, parse_network

WEB, DATABASE, STRANGER, NAMED, HOST = 1000, 1001, 1 << 24, 1 << 25, 1
PROXY_PORT = 15001
POLICY = PolicyRef("NetworkPolicy", "default", "web")
ALLOW = Verdict(PolicyAction.ALLOW, RuleRef(POLICY, "ingress[0]"))
DENY = Verdict(PolicyAction.DENY, RuleRef(POLICY, "ingressDeny[0]"))
DEFAULT = Verdict(PolicyAction.DEFAULT_DENY, RuleRef(POLICY, ""))
OPEN, SHUT = Table(ALLOW), Table(DEFAULT)
NOBODY = DirectionPolicy(SHUT)
NETWORKS = {
    "0.0.0.0/0": 9,
    "::/0": 10,
    f"{trial.NODE}/32": HOST,
    f"{trial.NODE6}/128": HOST,
    f"{trial.CLIENT}/32": STRANGER,
    f"{trial.POD}/32": WEB,
    f"{trial.POD6}/128": WEB,
    f"{trial.OTHER_POD}/32": DATABASE,
    f"{trial.OTHER_POD6}/128": DATABASE,
}
FORWARDED = 1


def ports(*ranges: tuple[int, int], protocol: int = packets.TCP, say: Verdict = ALLOW) -> Table:
    """Return a table that says something of some ports, and denies the rest."""
    return Table(DEFAULT, tuple(PortRange(protocol, first, last, say) for first, last in ranges))


@dataclass
class Policed:
    """A node with policies."""

    node: trial.Trial
    rules: RuleNumbers
    applier: PolicyMaps
    ring: Ring
    networks: dict[str, int] = field(default_factory=dict)

    def apply(self, *policies: SubjectPolicy, networks: Mapping[str, int] | None = None) -> None:
        """Put policies in force."""
        change = PolicyChange(
            subjects={policy.identity: policy for policy in policies},
            networks={parse_network(text): number for text, number in (networks or {}).items()},
        )
        assert self.applier.apply(change) == []

    def settle(self, address: str, identity: int) -> None:
        """Let a pod of this node be of an identity."""
        self.applier.apply(PolicyChange(endpoints={parse_address(address): identity}))

    def close(self, address: str) -> None:
        """Let a pod's policy not be in the maps."""
        key = trial.key_of(address)
        held = Endpoint.read(self.node.maps["endpoints"].lookup(key) or b"")
        entry = Endpoint(held.ifindex, held.mac, held.host_mac, EndpointFlag.CLOSED, held.identity)
        self.node.maps["endpoints"].update(key, entry.write())

    def flags(self, flags: int) -> None:
        """Set the flags of all policies, under another revision."""
        held = PolicyState.read(self.node.maps["policy_state"].lookup(bytes(4)) or b"")
        value = PolicyState(held.revision + 1, flags)
        self.node.maps["policy_state"].update(bytes(4), value.write())

    def outcome(
        self, frame: bytes, program: str = "pod_ingress", *, came_by: int = 0, mark: int = 0
    ) -> Outcome | None:
        """Return what a frame was counted under; None if it was not, but let through."""
        before = self.node.counted()
        run = self.node.run(frame, program, came_by=came_by, mark=mark)
        after = self.node.counted()
        new = [key[1] for key in after if after[key] != before.get(key, 0)]
        assert len(new) <= 1, f"counted under {new}"
        if not new:
            assert run.verdict != trial.DROP
            return None
        assert (run.verdict == trial.DROP) == (new[0] >= Outcome.DROP_TRUNCATED_L3)
        return new[0]

    def counters(self, verdict: Verdict) -> RuleCounters:
        """Return what a rule did."""
        assert verdict.rule is not None
        key = self.rules.number(verdict.rule).to_bytes(4, "little")
        return RuleCounters.read(self.node.maps["policy_rules"].lookup(key) or b"")

    def flows(self) -> dict[FlowKey, PolicyFlow]:
        """Return the connections."""
        return {
            FlowKey.read(key): PolicyFlow.read(value)
            for key, value in self.node.maps["policy_flows"].items()
        }

    def events(self) -> list[tuple[Outcome, str]]:
        """Return verdict and rule of each new event."""
        found = []
        for record in self.ring.drain():
            ref = self.rules.ref(int(record["rule"]))
            found.append((Outcome(int(record["verdict"])), str(ref) if ref else ""))
        return found


def segment(
    source: str, sport: int, destination: str, dport: int, flags: int = packets.SYN
) -> bytes:
    """Return a TCP segment in a frame that a pod of the bed may send."""
    return frame(
        packets.tcp((source, sport), (destination, dport), flags), source, destination, packets.TCP
    )


def datagram(source: str, sport: int, destination: str, dport: int) -> bytes:
    """Return a UDP datagram likewise."""
    return frame(
        packets.udp((source, sport), (destination, dport)), source, destination, packets.UDP
    )


def frame(payload: bytes, source: str, destination: str, protocol: int) -> bytes:
    """Return an IP packet of either family likewise."""
    wrap = packets.ip6 if ip_address(source).version == 6 else packets.ip4
    packet = wrap(payload, source=source, destination=destination, protocol=protocol)
    return trial.sent_by_pod(packet)


def opener(flows: Mapping[FlowKey, PolicyFlow]) -> list[str]:
    """Return who opened each connection."""
    return [str(key.high if flow.flags & 1 else key.low) for key, flow in flows.items()]


@contextlib.contextmanager
def policed(flags: ConfigFlag = ConfigFlag(0)) -> Iterator[Policed]:  # noqa: B008
    """Load the programs: the pods POD and POD6 are WEB, the others DATABASE, without policies."""
    with trial.loaded(flags) as node:
        rules = RuleNumbers({})
        applier = PolicyMaps(node.maps, rules, lambda redirect, rule: PROXY_PORT)
        for address in (trial.OTHER_POD, trial.OTHER_POD6):
            value = Endpoint(trial.LOOPBACK, trial.POD_MAC, trial.UPLINK, 0, 0)
            node.maps["endpoints"].update(trial.key_of(address), value.write())
        made = Policed(node, rules, applier, Ring(node.maps["events"], np.dtype(EVENT)))
        made.apply(SubjectPolicy(WEB), SubjectPolicy(DATABASE), networks=NETWORKS)
        for address in (trial.POD, trial.POD6):
            made.settle(address, WEB)
        for address in (trial.OTHER_POD, trial.OTHER_POD6):
            made.settle(address, DATABASE)
        yield made
