"""The overview names what is wrong, and only that."""

from typing import Any

import pytest

from cairn.diagnose.overview import Inventory, Overview, compile_overview
from cairn.diagnose.policies import PolicyCounts

VIP = "192.168.1.100"


def node(name: str = "node-1", *, ready: bool = True) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": str(ready)}]
    addresses = [{"type": "InternalIP", "address": "192.168.1.10"}]
    return {
        "metadata": {"name": name},
        "status": {"conditions": conditions, "addresses": addresses},
    }


def agent(node_name: str = "node-1", *, ready: bool = True) -> dict[str, Any]:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    return {
        "metadata": {
            "namespace": "kube-system",
            "name": f"cairn-{node_name}",
            "labels": {"k8s-app": "cairn"},
        },
        "spec": {"nodeName": node_name},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"name": "agent", "state": {} if ready else {"waiting": waiting}}
            ],
        },
    }


def service(*, ip: str = VIP, message: str = "") -> dict[str, Any]:
    status: dict[str, Any] = {"loadBalancer": {"ingress": [{"ip": ip}] if ip else []}}
    if message:
        status["conditions"] = [{"type": "cilium.io/IPAMRequestSatisfied", "message": message}]
    return {
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "type": "LoadBalancer",
            "ports": [{"port": 80}],
            "selector": {"app": "web-app"},
        },
        "status": status,
    }


def endpoints(*ready: bool) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "default",
            "name": "web-1",
            "labels": {"kubernetes.io/service-name": "web"},
        },
        "ports": [{"port": 8080}],
        "endpoints": [
            {
                "addresses": [f"10.244.1.{i}"],
                "conditions": {"ready": is_ready},
                "nodeName": "node-1",
                "targetRef": {"kind": "Pod", "namespace": "default", "name": f"web-{i}"},
            }
            for i, is_ready in enumerate(ready, 2)
        ],
    }


def ejecting(*, by: str = "node-1") -> dict[str, Any]:
    said = "10.244.1.2:8080/TCP no answer within 1 s; 10.244.1.99:80/TCP gone since"
    return {"metadata": {"name": by, "annotations": {"cairn.io/ejected": said}}}


def config(*, state: str = "established", announced: bool = True) -> dict[str, Any]:
    peer = {"name": "router", "peerAddress": "192.168.1.1", "peerASN": 64512}
    status = peer | {
        "peeringState": state,
        "lastError": "connection refused" if state != "established" else "",
        "routeCount": [{"advertised": 1}],
    }
    return {
        "metadata": {"name": "node-1"},
        "spec": {"bgpInstances": [{"name": "i", "peers": [peer]}]},
        "status": {
            "bgpInstances": [{"name": "i", "peers": [status]}],
            "announcements": [{"prefix": f"{VIP}/32"}] if announced else [],
        },
    }


def overview(**change: Any) -> Overview:
    healthy: dict[str, Any] = {
        "nodes": [node()],
        "pods": [agent()],
        "services": [service()],
        "slices": [endpoints(True)],
        "policies": [{"metadata": {"name": "homelab"}}],
        "node_configs": [config()],
    }
    return compile_overview(Inventory(**(healthy | change)))


def test_a_healthy_system_has_no_problem() -> None:
    found = overview()
    assert found.problems == ()
    assert found.healthy
    assert found.addresses[0].announced_by == ("node-1",)
    assert found.sessions[0].state == "established"


@pytest.mark.parametrize(
    ("change", "subject", "words"),
    [
        ({"nodes": []}, "the cluster", "has no node"),
        ({"nodes": [node(ready=False)]}, "node node-1", "not ready"),
        ({"cilium_nodes": [ejecting()]}, "service default/web", "10.244.1.2:8080/TCP: no answer"),
        ({"cilium_nodes": [ejecting()]}, "service default/web", "none of its 1 pods is ready and"),
        ({"pods": []}, "node node-1", "no agent runs there"),
        ({"pods": [agent(ready=False)]}, "node node-1", "CrashLoopBackOff"),
        ({"services": [service(ip="", message="pool x lacks")]}, "service default/web", "pool x"),
        ({"services": [service(ip="")]}, "service default/web", "operator"),
        ({"slices": [endpoints(False)]}, "service default/web", "none of its 1 pods is ready"),
        ({"slices": []}, "service default/web", "no pod matches its selector app=web-app"),
        (
            {"node_configs": [config(announced=False)]},
            "service default/web",
            "no node announces its address",
        ),
        (
            {"node_configs": [config(announced=False)], "policies": []},
            "service default/web",
            "no CiliumBGPPeeringPolicy exists",
        ),
        (
            {"node_configs": [config(state="connect")]},
            "session node-1 to 192.168.1.1",
            "connection refused",
        ),
    ],
)
def test_each_fault_is_named(change: dict[str, Any], subject: str, words: str) -> None:
    found = overview(**change)
    assert not found.healthy
    assert [p for p in found.problems if p.subject == subject and words in p.what], found.problems


def test_pool_conflict_is_severe_and_a_finding_is_not() -> None:
    conditions = [
        {"type": "cilium.io/PoolConflict", "status": "True", "message": "overlaps pool a"},
        {"type": "cairn.io/Findings", "status": "True", "message": "write start and stop"},
    ]
    pool = {
        "metadata": {"name": "b"},
        "spec": {"blocks": [{"start": "192.168.1.100", "stop": "192.168.1.111"}]},
        "status": {"conditions": conditions},
    }
    found = overview(pools=[pool])
    assert {(p.what, p.severe) for p in found.problems} == {
        ("overlaps pool a", True),
        ("write start and stop", False),
    }
    assert found.pools[0].blocks == "192.168.1.100 to 192.168.1.111"


def test_a_policy_without_nodes_is_named() -> None:
    message = "selects 0 of 3 nodes; nodes have labels a=b"
    conditions = [{"type": "cairn.io/Selected", "status": "False", "message": message}]
    policy = {"metadata": {"name": "homelab"}, "status": {"conditions": conditions}}
    found = overview(policies=[policy])
    assert [p.what for p in found.problems] == [message]


def network_policy(name: str, *entities: str, **annotations: str) -> dict[str, Any]:
    return {
        "kind": "CiliumNetworkPolicy",
        "metadata": {"namespace": "default", "name": name, "annotations": annotations},
        "spec": {"endpointSelector": {}, "ingress": [{"fromEntities": list(entities)}]},
    }


def test_an_invalid_policy_is_severe_and_told_once_for_all() -> None:
    good, *bad = network_policy("good", "host"), network_policy("b", "x"), network_policy("a", "x")
    found = overview(network_policies=[good, *bad])
    assert not found.healthy
    (problem,) = found.problems
    assert problem.subject == "CiliumNetworkPolicy default/a, default/b"
    assert "is not understood, and what was in force of it before stays" in problem.what
    assert "spec.ingress[0].fromEntities[0]: 'x' is unknown" in problem.what
    assert found.policies == PolicyCounts(enforced=1, invalid=2)


def test_a_disabled_policy_and_an_unread_kind_are_worth_knowing() -> None:
    policies = [
        network_policy("off", "host", **{"policy.cilium.io/disabled": "true"}),
        network_policy("try", "host", **{"policy.cilium.io/audit-mode": "true"}),
    ]
    envoy = {"kind": "CiliumEnvoyConfig", "metadata": {"namespace": "default", "name": "x"}}
    found = overview(network_policies=policies, others=[envoy])
    assert found.healthy
    assert found.policies == PolicyCounts(disabled=1, audit=1)
    assert [(p.subject, p.severe) for p in found.problems] == [
        ("CiliumEnvoyConfig default/x", False),
        ("CiliumNetworkPolicy default/off", False),
        ("CiliumNetworkPolicy default/try", False),
    ]


def test_a_port_that_cannot_be_translated_is_told_of() -> None:
    obj = service() | {"kind": "Service"}
    obj["spec"]["ports"] = [{"port": 9, "protocol": "SCTP", "targetPort": 90}]
    found = overview(services=[obj])
    assert found.healthy
    (problem,) = found.problems
    assert problem.subject == "Service default/web"
    assert "port 9/SCTP leads to targetPort 90" in problem.what


def test_a_service_of_another_class_is_not_ours_to_address() -> None:
    foreign = service(ip="")
    foreign["spec"]["loadBalancerClass"] = "example.com/other"
    found = overview(services=[foreign])
    assert found.healthy
    (problem,) = found.problems
    assert "loadBalancerClass example.com/other, which is not Cairn's" in problem.what


def test_an_ejected_backend_is_shown_with_its_reason_and_does_not_count() -> None:
    found = overview(slices=[endpoints(True, True)], cilium_nodes=[ejecting()])
    assert (found.addresses[0].backends_ready, found.addresses[0].backends) == (1, 2)
    assert [problem.subject for problem in found.problems] == ["service default/web"]
    assert found.problems[0].what.startswith("pod default/web-2 does not serve at 10.244.1.2:8080")
    assert found.problems[0].remedy == "kubectl -n default logs web-2"
    assert not found.healthy


def test_a_node_tells_of_its_own_backends_only() -> None:
    assert overview(cilium_nodes=[ejecting(by="node-2")]).problems == ()
