"""What policy costs: ns per packet by trial runs, and traffic between two pods of one node.

    src/cairn/_bpf/*.o, 1,000 rules or none  ->  rows; run by itself, JSON

    python bench/policy.py [--rounds N]

Both are the same pods on the same path; in turns they have a policy of RULES rules in both
directions, and none. So a ratio is the policy's cost and nothing else's.

Units       ns per packet; the empty program's time is part of both
"""

import argparse
import json
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path

from cairn.abi.structs import Endpoint, PolicyAction
from cairn.apply.policy_maps import PolicyChange, PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.desired.policy import DirectionPolicy, PortRange, SubjectPolicy, Table, Verdict
from cairn.kube.policy.rule import PolicyRef, RuleRef
from cairn.libbpf import BpfError, Map
from cairn.net import Address

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "bpf"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "netns"))

import packets
import trial
from datapath_bed import Bed, bed
from row import Aim, Row, compare, take_turns
from traffic import (
    ECHO_PORT,
    IPERF_PORT,
    Place,
    connection_ns,
    in_netns,
    mbit_per_s,
    serving,
    trip_ns,
)

RULES = 1000
ONE, TWO = 256, 257
POLICY = PolicyRef("NetworkPolicy", "bench", "many")
PACKETS, TRIAL_ROUNDS, ROUNDS, TRIP_ROUNDS = 200_000, 9, 9, 25
COST = 1.02
TCP = 6


def rule(number: int) -> Verdict:
    """Return the verdict of one rule that allows."""
    return Verdict(PolicyAction.ALLOW, RuleRef(POLICY, f"ingress[{number}]"))


def many_rules() -> DirectionPolicy:
    """Return half of RULES for ports of pods, and half for other peers; the last ports are ours."""
    half = RULES // 2
    default = Verdict(PolicyAction.DEFAULT_DENY, RuleRef(POLICY, ""))
    ranges = [PortRange(TCP, 6000 + 4 * n, 6001 + 4 * n, rule(n)) for n in range(half - 2)]
    ours = [PortRange(TCP, port, port, rule(half)) for port in (80, IPERF_PORT, ECHO_PORT)]
    table = Table(default, (*ours, *ranges))
    others = {
        1000 + n: Table(default, (PortRange(TCP, 7000 + n, 7000 + n, rule(half + n)),))
        for n in range(half)
    }
    return DirectionPolicy(Table(default), {**others, ONE: table, TWO: table})


class Policies:
    """Two pods that have the policy, or none."""

    def __init__(self, maps: dict[str, Map], one: Address, two: Address) -> None:
        self._maps = PolicyMaps(maps, RuleNumbers({}), lambda redirect, rule: 0)
        networks = {ip_network(one): ONE, ip_network(two): TWO, ip_network("0.0.0.0/0"): 9}
        self.set(many=False)
        self._maps.apply(PolicyChange(networks=networks, endpoints={one: ONE, two: TWO}))

    def set(self, *, many: bool) -> None:
        """Put it in force, or take it away."""
        policy = many_rules() if many else None
        wrong = self._maps.apply(
            PolicyChange(subjects={pod: SubjectPolicy(pod, policy, policy) for pod in (ONE, TWO)})
        )
        if wrong:
            raise RuntimeError("; ".join(wrong))


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of packet."""

    name: str
    run: Callable[[int], int]


def cases(node: trial.Trial) -> list[Case]:
    """Return what a pod sends to another, and what comes for it on the uplink."""

    def repeat(frame: bytes, program: str) -> Callable[[int], int]:
        return lambda count: node.run(frame, program, count).duration_ns

    established = trial.from_pod(trial.OTHER_POD, 80, flags=packets.ACK)
    new = trial.from_pod(trial.OTHER_POD, 80, flags=packets.SYN | packets.FIN)
    arriving = trial.request(80, to=trial.POD, flags=packets.ACK)
    return [
        Case("a pod's packet to a pod, established", repeat(established, "pod_ingress")),
        Case("a pod's packet to a pod, new each time", repeat(new, "pod_ingress")),
        Case("arriving for a pod, established", repeat(arriving, "uplink_ingress")),
    ]


def packet_rows(rounds: int) -> Iterator[Row]:
    """Measure single packets."""
    with trial.loaded() as node:
        for text in (trial.POD, trial.OTHER_POD):
            value = Endpoint(trial.LOOPBACK, trial.POD_MAC, trial.UPLINK, 0, 0)
            node.maps["endpoints"].update(trial.key_of(text), value.write())
        pods = ip_address(trial.POD), ip_address(trial.OTHER_POD)
        policies = Policies(node.maps, *pods)
        client = ip_address(trial.CLIENT)
        node.maps["identities"].update(
            struct.pack("<I", 128) + trial.key_of(str(client)), struct.pack("<I", TWO)
        )
        for case in cases(node):

            def spent(case: Case = case, *, many: bool) -> float:
                policies.set(many=many)
                case.run(1000)
                return float(case.run(PACKETS))

            pairs = take_turns(partial(spent, many=True), partial(spent, many=False), rounds)
            more = sorted(subject - base for subject, base in pairs)[rounds // 2]
            yield compare(case.name, "ns/packet", pairs, f"{more:.0f} ns more with {RULES:,} rules")


@contextmanager
def two_pods() -> Iterator[tuple[Bed, Policies]]:
    """Make a node with pods whose checksums are left to the device, as pods' are."""
    with ExitStack() as stack:
        made = stack.enter_context(bed(nodes=1, pods=3))
        one, _, two = made.pods
        node = made.nodes[0]
        policies = Policies(node.maps, ip_address(one.address), ip_address(two.address))
        stack.enter_context(serving([two.ns]))
        yield made, policies


def traffic_rows(rounds: int) -> Iterator[Row]:
    """Measure traffic between two pods."""
    with two_pods() as (made, policies):
        source, address = in_netns(made.pods[0].ns), made.pods[2].address
        until_served(source, address)
        for what, unit, measure, aim, count in (
            ("one stream", "Mbit/s", partial(mbit_per_s, streams=1), Aim(1 / COST, True), rounds),
            ("round trip", "ns", trip_ns, Aim(COST), TRIP_ROUNDS),
            ("connection", "ns", connection_ns, None, TRIP_ROUNDS),
        ):

            def taken(measure: Callable[[Place, str], float] = measure, *, many: bool) -> float:
                policies.set(many=many)
                return measure(source, address)

            pairs = take_turns(partial(taken, many=True), partial(taken, many=False), count)
            meaning = f"{RULES:,} rules against none, between the same two pods"
            yield compare(f"pod to pod under policy, {what}", unit, pairs, meaning, aim)


def until_served(source: Place, address: str) -> None:
    """Return once both servers listen."""
    script = f"until exec 3<>/dev/tcp/{address}/{ECHO_PORT}; do :; done"
    source.output("timeout", "10", "bash", "-c", script)
    mbit_per_s(source, address, 1)


def run() -> list[Row]:
    """Measure all."""
    try:
        return [*packet_rows(TRIAL_ROUNDS), *traffic_rows(ROUNDS)]
    except BpfError as error:
        raise RuntimeError(str(error)) from error


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    found = [*packet_rows(options.rounds), *traffic_rows(options.rounds)]
    print(json.dumps([asdict(row) for row in found], indent=1))
