"""Objects that policies speak of, handed to the engine: what is in force, and what is said."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cairn.agent.cluster import Cluster
from cairn.agent.policy_cluster import PolicyCluster
from cairn.agent.policy_pods import PodSeen, PolicyPods, pod_key
from cairn.agent.policy_record import load_rules, save_rules
from cairn.agent.policy_store import PolicyStore
from cairn.agent.policy_tell import PolicyTell
from cairn.compile.policy.engine import Engine
from cairn.desired.endpoint import PodEndpoint
from cairn.drive.event_recorder import EventRecorder
from cairn.drive.kube_client import Client
from cairn.drive.kubeconfig import Access
from cairn.kube.metadata import Key
from cairn.kube.policy.rule import PolicyRef, PortMatch, RuleRef
from cairn.kube.policy.workload import Workload
from cairn.net import parse_address

KIND = "NetworkPolicy"
WEB = Key("default", "web")
REF = PolicyRef(KIND, *WEB)
NODE = "node-1"
ADDRESS = parse_address("10.244.1.5")


def policy(port: Any, version: str = "1") -> dict[str, Any]:
    """Return a policy that lets everybody in at one port of all pods."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": KIND,
        "metadata": {
            "namespace": "default",
            "name": "web",
            "uid": "u1",
            "resourceVersion": version,
        },
        "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": port}]}]},
    }


class Bed:
    """An agent's view of the cluster, without a cluster; it may be made anew on the same files."""

    def __init__(self, folder: Path) -> None:
        client = Client(Access("https://127.0.0.1:1", None))
        self.folder = folder
        self.engine = Engine(NODE)
        self.store = PolicyStore(folder)
        self.pods = PolicyPods(NODE, self.engine, ())
        self.cluster = PolicyCluster(
            client,
            (NODE, ()),
            engine=self.engine,
            cluster=Cluster(client, NODE),
            pods=self.pods,
            store=self.store,
            tell=PolicyTell(EventRecorder(client, "test")),
        )
        self.see("a", ADDRESS)

    def see(self, name: str, *addresses: Any, uid: str = "1", **labels: str) -> None:
        key = Key("default", name)
        pod = PodSeen(uid, Workload(key, labels, "", "node-2", addresses))
        self.cluster.note("Pod", key, pod)

    def tell(self, obj: Mapping[str, Any] | None) -> None:
        self.cluster.note(KIND, WEB, obj)
        assert not self.cluster.drain(60)

    @property
    def in_force(self) -> set[str]:
        """The ports of the policy that is in force."""
        return {
            str(match.first)
            for found in self.cluster.in_force()
            for rule in found.rules
            for match in rule.matches
            if isinstance(match, PortMatch)
        }


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    return Bed(tmp_path)


def test_what_is_not_understood_leaves_what_was(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.tell(policy(80))
    assert bed.in_force == {"80"}
    with caplog.at_level(logging.INFO):
        bed.tell(policy(123456, "2"))
        bed.tell(policy(123456, "3"))
    assert bed.in_force == {"80"}
    (line,) = caplog.messages
    assert "123456" in line
    assert "what was in force before stays" in line
    assert list(bed.cluster.invalid) == [(KIND, WEB)]
    bed.tell(policy(81, "4"))
    assert bed.in_force == {"81"}
    assert not bed.cluster.invalid


def test_a_new_agent_finds_what_was_in_force(bed: Bed, caplog: pytest.LogCaptureFixture) -> None:
    bed.tell(policy(80))
    bed.tell(policy(123456, "2"))
    bed.store.flush()
    again = Bed(bed.folder)
    again.tell(policy(123456, "2"))
    assert again.in_force == {"80"}
    again.tell(None)
    again.store.flush()
    last = Bed(bed.folder)
    with caplog.at_level(logging.INFO):
        last.tell(policy(123456, "2"))
    assert last.in_force == set()
    assert "nothing of it is in force" in caplog.messages[-1]


def test_a_record_that_is_damaged_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "last-good.sqlite").write_bytes(b"not a database, not at all" * 100)
    bed = Bed(tmp_path)
    bed.tell(policy(80))
    bed.store.flush()
    assert PolicyStore(tmp_path).get(KIND, WEB) == policy(80)


def test_what_is_gone_from_the_cluster_is_gone_from_the_record(bed: Bed) -> None:
    bed.tell(policy(80))
    bed.store.flush()
    again = PolicyStore(bed.folder)
    again.put(KIND, WEB, policy(80))
    assert not again.waits, "it is there already"
    again.keep([])
    again.flush()
    assert PolicyStore(bed.folder).get(KIND, WEB) is None


def test_handing_over_stops_when_its_time_is_up(bed: Bed) -> None:
    for number in range(300):
        bed.see(f"pod-{number}")
    assert bed.cluster.drain(0)
    assert not bed.cluster.drain(60)
    assert bed.engine.identity_of(Key("default", "pod-299"))


def endpoint(uid: str, container: str = "c1", pod: str = "own") -> PodEndpoint:
    return PodEndpoint(container, "eth0", "/run/netns/x", "default" if pod else "", pod, uid,
                       (ADDRESS,), "lxc1", "02:00:00:00:00:01", "02:00:00:00:00:02", 7)  # fmt: skip


def own(uid: str, **labels: str) -> PodSeen:
    """Return the object of a pod of this node, which says another address than its wire."""
    stale = parse_address("10.244.1.99")
    return PodSeen(uid, Workload(Key("default", "own"), labels, "", NODE, (stale,)))


def test_a_wire_is_its_own_pods_whatever_objects_come_late(bed: Bed) -> None:
    key = Key("default", "own")
    bed.pods.seen(key, own("1", app="first"))
    bed.pods.put(key, own("1", app="first"))
    with pytest.raises(KeyError):
        bed.engine.policy_of(bed.engine.identity_at(parse_address("10.244.1.99")))
    wire = endpoint("2")
    assert bed.pods.known(wire) is None, "that is the pod of this name before"
    bed.pods.wire(wire, own("2", app="second").workload)
    second = bed.engine.identity_of(key)
    bed.pods.put(key, own("1", app="first"))
    bed.pods.put(key, None)
    assert bed.engine.identity_of(key) == bed.engine.identity_at(ADDRESS) == second
    bed.pods.put(key, own("2", app="third"))
    assert bed.engine.identity_at(ADDRESS) != second, "labels may change"
    bed.pods.seen(key, None)
    bed.pods.unwire(endpoint("1", "c0"))
    assert bed.engine.identity_of(key)
    bed.pods.unwire(wire)
    with pytest.raises(KeyError):
        bed.engine.identity_of(key)


def test_a_container_that_is_no_pods_has_no_labels(bed: Bed) -> None:
    wire = endpoint("", pod="")
    found = bed.pods.known(wire)
    assert found is not None
    bed.pods.wire(wire, found)
    bed.tell(policy(80))
    identity = bed.engine.identity_of(pod_key(wire))
    assert bed.engine.policy_of(identity).ingress is None


def test_numbers_of_rules_survive_in_their_file(tmp_path: Path) -> None:
    path = tmp_path / "policy-rules.json"
    assert load_rules(path) == {}
    rules = {7: RuleRef(REF, "ingress[0]"), 8: RuleRef(REF, "")}
    save_rules(path, rules)
    assert load_rules(path) == rules
    assert json.loads(path.read_text())["7"] == {
        "kind": KIND,
        "namespace": "default",
        "name": "web",
        "path": "ingress[0]",
    }
    path.write_text('{"7": 1}')
    assert load_rules(path) == {}
