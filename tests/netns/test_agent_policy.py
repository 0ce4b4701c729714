"""Policies through a real agent: objects in an API server, connections between wired pods."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from agent_bed import PORT, AgentBed, agent_node, wait_for

pytestmark = [pytest.mark.root]

SMALL = ("--map-size", "policy_ports=16")
WITHIN_S = 5.0
"""Long enough for a busy machine; bench/policy_delay.py measures."""


Object = dict[str, Any]


def policy(name: str, labels: Object, *, ports: list[int] | None = None, **peers: str) -> Object:
    """Return a NetworkPolicy that lets pods with these labels in at some ports; none: nobody."""
    rule: dict[str, Any] = {}
    if peers:
        rule["from"] = [{"podSelector": {"matchLabels": peers}}]
    if ports:
        rule["ports"] = [{"port": port} for port in ports]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "podSelector": {"matchLabels": labels},
            "policyTypes": ["Ingress"],
            "ingress": [rule] if rule else [],
        },
    }


class Stream:
    """Datagrams from one pod to another, many a second, and which of them arrived."""

    def __init__(self, bed: AgentBed, source: str, target: str, port: int = PORT) -> None:
        self._to = (bed.addresses[target], port)
        self._out = bed.socket(source, socket.SOCK_DGRAM)
        self._in = bed.socket(target, socket.SOCK_DGRAM)
        self._in.bind(("", port))
        self._in.settimeout(0.1)
        self._ended = threading.Event()
        self.sent: list[int] = []
        self.arrived: list[int] = []
        self._threads = [threading.Thread(target=t) for t in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self._out.close()
        self._in.close()

    def _send(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            self._out.sendto(number.to_bytes(4, "big"), self._to)
            self.sent.append(number)
            time.sleep(0.005)
        time.sleep(0.05)

    def _receive(self) -> None:
        while not self._ended.is_set():
            try:
                self.arrived.append(int.from_bytes(self._in.recv(16), "big"))
            except TimeoutError:
                continue

    def passes(self) -> bool:
        """Return whether what is sent from now on arrives, at least one of it."""
        mark = len(self.sent)
        time.sleep(0.1)
        return any(number > mark for number in self.arrived[-20:])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentBed]:
    """A node with little room for policies, and pods a, b and c, each labelled with its name."""
    with agent_node(tmp_path_factory.mktemp("agent"), *"abcde") as made:
        made.start_agent(*SMALL)
        for name in "abc":
            made.create_pod(name, app=name)
            status, answer = made.add(name)
            assert status == 0, answer
        yield made


@pytest.fixture
def bed(node: AgentBed) -> Iterator[AgentBed]:
    """The node without policies."""
    yield node
    node.kubectl("delete", "networkpolicies,ciliumnetworkpolicies", "--all")


def connect(bed: AgentBed, source: str, target: str, port: int = PORT) -> socket.socket:
    made = bed.socket(source, socket.SOCK_STREAM)
    made.connect((bed.addresses[target], port))
    return made


def serve(bed: AgentBed, name: str, port: int = PORT) -> socket.socket:
    """Return a listener of a pod that echoes on its first connection."""
    listener = bed.socket(name, socket.SOCK_STREAM)
    listener.bind(("", port))
    listener.listen()

    def echo() -> None:
        with listener.accept()[0] as peer:
            peer.settimeout(60)
            while data := peer.recv(100):
                peer.sendall(data)

    threading.Thread(target=echo, daemon=True).start()
    return listener


def test_a_change_is_in_force_on_connections_that_stand(bed: AgentBed) -> None:
    with serve(bed, "b"), connect(bed, "a", "b") as made:
        made.sendall(b"one")
        assert made.recv(10) == b"one"
        bed.apply(policy("only-c", {"app": "b"}, app="c"))
        stream = Stream(bed, "a", "b")
        other = Stream(bed, "c", "b", PORT + 1)
        try:
            wait_for("the policy", lambda: not stream.passes(), WITHIN_S)
            made.settimeout(0.5)
            made.sendall(b"two")
            with pytest.raises(TimeoutError):
                made.recv(10)
            assert other.passes()
            bed.kubectl("delete", "networkpolicy", "only-c")
            made.settimeout(10)
            assert made.recv(10) == b"two", "TCP sends it again, and now it passes"
        finally:
            stream.stop()
            other.stop()
    wait_for("its line", lambda: "default deny by NetworkPolicy/default/only-c" in bed.log())


def test_a_new_pod_is_never_open_before_its_policy(bed: AgentBed) -> None:
    bed.apply(policy("nobody", {"app": "d"}))
    bed.create_pod("d", app="d")
    bed.addresses["d"] = "10.244.9.4"
    stream = Stream(bed, "a", "d")
    try:
        status, answer = bed.add("d")
        assert status == 0
        assert answer["ips"][0]["address"] == "10.244.9.4/32"
        assert not stream.passes()
        assert stream.arrived == [], "not the first packet either"
        bed.kubectl("label", "pod", "d", "app=other", "--overwrite")
        wait_for("the pod's other identity", stream.passes, WITHIN_S)
        bed.kubectl("label", "pod", "d", "app=d", "--overwrite")
        wait_for("its first identity", lambda: not stream.passes(), WITHIN_S)
    finally:
        stream.stop()
        bed.call("DEL", "d")


def test_a_pod_that_nobody_knows_is_not_let_in(bed: AgentBed) -> None:
    status, answer = bed.add("e")
    assert (status, answer["code"]) == (1, 11)
    assert "default/e" in answer["msg"]
    bed.create_pod("e")
    bed.uids["e"], known = "another", bed.uids["e"]
    status, answer = bed.add("e")
    assert (status, answer["code"]) == (1, 11)
    assert known in answer["msg"]
    bed.uids["e"] = known
    assert bed.add("e")[0] == 0
    bed.call("DEL", "e")
    assert bed.add("e", CNI_ARGS="IgnoreUnknown=1")[0] == 0, "a container that is no pod's"
    bed.call("DEL", "e")


def test_an_agent_that_dies_and_comes_back_changes_nothing(bed: AgentBed) -> None:
    bed.apply(policy("only-c", {"app": "b"}, app="c"))
    allowed = Stream(bed, "c", "b", PORT + 1)
    denied = Stream(bed, "a", "b")
    try:
        wait_for("the policy", lambda: not denied.passes(), WITHIN_S)
        arrived, mark = len(denied.arrived), len(allowed.sent)
        for _ in range(2):
            bed.kill_agent()
            bed.start_agent(*SMALL)
        assert denied.arrived[arrived:] == []
        bed.kill_agent()
        bed.apply(policy("only-c", {"app": "b"}, app="a"))
        bed.kubectl("label", "pod", "a", "more=labels")
        assert not denied.passes(), "without an agent all stays as it was"
        assert allowed.passes()
        lost = set(range(mark + 1, allowed.arrived[-1])) - set(allowed.arrived)
        assert not lost, f"{len(lost)} of {allowed.arrived[-1] - mark} datagrams"
        bed.start_agent(*SMALL)
        wait_for("what changed meanwhile", denied.passes, WITHIN_S)
        wait_for("the end of what was allowed", lambda: not allowed.passes(), WITHIN_S)
    finally:
        allowed.stop()
        denied.stop()


def test_a_policy_that_does_not_fit_closes_its_pods_and_no_others(bed: AgentBed) -> None:
    bed.apply(policy("b", {"app": "b"}, app="a"))
    bed.apply(policy("c", {"app": "c"}, ports=[PORT], app="a"))
    to_b, to_c = Stream(bed, "a", "b"), Stream(bed, "b", "c", PORT + 1)
    try:
        wait_for("policies", lambda: to_b.passes() and not to_c.passes(), WITHIN_S)
        many = policy("b", {"app": "b"}, ports=list(range(PORT, PORT + 80, 2)), app="a")
        for port in many["spec"]["ingress"][0]["ports"]:
            port["protocol"] = "UDP"
        bed.apply(many)
        wait_for("the pod to be closed", lambda: not to_b.passes(), WITHIN_S)
        told = wait_for("its Event", lambda: bed.events("PolicyMapFull"), WITHIN_S)
        assert [event["involvedObject"]["name"] for event in told] == ["b"]
        assert "--map-size policy_ports=32" in told[0]["message"]
        bed.apply(policy("b", {"app": "b"}, app="a"))
        wait_for("room again", to_b.passes, WITHIN_S)
        assert not to_c.passes()
    finally:
        to_b.stop()
        to_c.stop()


CNP: dict[str, Any] = {
    "apiVersion": "cilium.io/v2",
    "kind": "CiliumNetworkPolicy",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "endpointSelector": {"matchLabels": {"app": "b"}},
        "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "c"}}]}],
    },
}


def test_a_policy_is_disabled_and_audited_by_annotations(bed: AgentBed) -> None:
    bed.apply(CNP)
    stream = Stream(bed, "a", "b")
    try:
        wait_for("the policy", lambda: not stream.passes(), WITHIN_S)
        for annotation in ("disabled", "audit-mode"):
            bed.kubectl("annotate", "cnp", "web", f"policy.cilium.io/{annotation}=true")
            wait_for(annotation, stream.passes, WITHIN_S)
            bed.kubectl("annotate", "cnp", "web", f"policy.cilium.io/{annotation}-")
            wait_for("enforcement", lambda: not stream.passes(), WITHIN_S)
    finally:
        stream.stop()
    audited = "1 packet let through, default/a"
    wait_for("the line of the audit", lambda: audited in bed.log())
