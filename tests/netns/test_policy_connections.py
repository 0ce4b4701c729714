"""Connections that stand when policies change, and what drops say of who dropped them."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from datapath_bed import wait_for
from overlay_bed import Pod
from pod_probes import TCP, Probe, Probes
from policy_bed import Drop, PolicyBed, full_name, policy_bed
from world import Object

from cairn.kube.policy.rule import PolicyRef, RuleRef
from cairn.linux import namespace

pytestmark = pytest.mark.root
PORT = 8090
PATIENCE_S = 10.0
CLOSED: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed", "namespace": "x"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
}


def allow_port(port: int) -> Object:
    """Return a policy that opens one port of x."""
    spec = {"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]}
    metadata = {"name": "one-port", "namespace": "x"}
    return {**CLOSED, "metadata": metadata, "spec": spec}


def deny_from(name: str) -> Object:
    """Return a policy that forbids pods of a name to reach those of x, and closes nothing."""
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumClusterwideNetworkPolicy",
        "metadata": {"name": "forbidden"},
        "spec": {
            "endpointSelector": {"matchLabels": {"k8s:io.kubernetes.pod.namespace": "x"}},
            "enableDefaultDeny": {"ingress": False},
            "ingressDeny": [
                {"fromEntities": ["world"]},
                {"fromEndpoints": [{"matchLabels": {"pod": name}}]},
            ],
        },
    }


@pytest.fixture(scope="module")
def bed() -> Iterator[PolicyBed]:
    with policy_bed() as made:
        yield made


@pytest.fixture
def no_policy(bed: PolicyBed) -> Iterator[PolicyBed]:
    yield bed
    bed.enforce([])


def pod(bed: PolicyBed, name: str) -> Pod:
    """Return a pod by NAMESPACE/NAME."""
    return next(one for one in bed.pods if full_name(one) == name)


@contextlib.contextmanager
def connected(source: Pod, target: Pod, version: int) -> Iterator[tuple[socket.socket, ...]]:
    """Yield both ends of a TCP connection between two pods."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    where = (target.address(version), PORT)
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(
            namespace.call_in(target.ns, lambda: socket.create_server(where, family=family))
        )
        one = namespace.call_in(source.ns, socket.create_connection, where, PATIENCE_S)
        stack.enter_context(one)
        other, _ = listener.accept()
        stack.enter_context(other)
        for sock in (one, other):
            sock.settimeout(PATIENCE_S)
        yield one, other


def say(one: socket.socket, other: socket.socket, text: bytes) -> None:
    """Send from one end and receive at the other."""
    one.sendall(text)
    heard = b""
    while len(heard) < len(text):
        heard += other.recv(len(text) - len(heard))
    assert heard == text


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("names", [("x/a", "x/b"), ("z/a", "x/a")], ids=["one node", "two nodes"])
def test_a_policy_cuts_what_it_forbids_and_lets_it_go_on_when_it_goes(
    no_policy: PolicyBed, names: tuple[str, str], version: int
) -> None:
    source, target = (pod(no_policy, name) for name in names)
    with connected(source, target, version) as (one, other):
        say(one, other, b"before")
        say(other, one, b"answer")
        no_policy.drops()
        no_policy.enforce([CLOSED])
        cut = RuleRef(PolicyRef("NetworkPolicy", "x", "closed"), "")
        one.sendall(b"after")
        seen: dict[Drop, RuleRef | None] = {}

        def dropped() -> bool:
            seen.update(no_policy.drops())
            return any(rule == cut for rule in seen.values())

        wait_for(dropped, "the drop of what was let through before")
        other.setblocking(False)
        with pytest.raises(BlockingIOError):
            other.recv(1)
        other.settimeout(PATIENCE_S)
        no_policy.enforce([])
        assert other.recv(5) == b"after"  # sent again by TCP
        say(other, one, b"all is well")


def test_a_connection_that_is_allowed_goes_on_under_a_new_policy(no_policy: PolicyBed) -> None:
    with connected(pod(no_policy, "y/a"), pod(no_policy, "x/a"), 4) as (one, other):
        say(one, other, b"before")
        no_policy.enforce([CLOSED, allow_port(PORT)])
        no_policy.drops()
        for _ in range(50):
            say(one, other, b"after")
            say(other, one, b"answer")
        assert no_policy.drops() == {}


def test_a_drop_names_the_rule_that_denies_and_the_policy_that_isolates(
    no_policy: PolicyBed,
) -> None:
    probes = Probes(no_policy.ends, no_policy.drops)
    no_policy.enforce([deny_from("c"), allow_port(80)])
    target = pod(no_policy, "x/a")
    asked = {
        name: Probe(pod(no_policy, name), target, name, 4, TCP, port)
        for name, port in (("y/c", 80), ("y/a", 80), ("y/b", 81))
    }
    outcome = probes.ask(list(asked.values()))
    probes.close()
    assert outcome.failed == {}
    assert outcome.through == {asked["y/a"]}
    said = {probe.name: str(rule) for probe, rule in outcome.dropped.items()}
    assert said == {
        "y/c": "CiliumClusterwideNetworkPolicy/forbidden ingressDeny[1]",
        "y/b": "NetworkPolicy/x/one-port default deny",
    }


def test_deny_wins_whichever_policy_came_first(no_policy: PolicyBed) -> None:
    probes = Probes(no_policy.ends, no_policy.drops)
    probe = Probe(pod(no_policy, "y/c"), pod(no_policy, "x/a"), "c", 6, TCP, 80)
    for order in ([deny_from("c"), allow_port(80)], [allow_port(80), deny_from("c")]):
        no_policy.enforce([])
        assert probes.ask([probe]).through == {probe}
        no_policy.enforce(order)
        assert set(probes.ask([probe]).dropped) == {probe}
    probes.close()
