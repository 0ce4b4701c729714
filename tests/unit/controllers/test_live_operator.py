"""The operator against the real API server: addresses, reasons, restarts, BGP objects."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.resource import (
    BGP_ADVERTISEMENTS,
    BGP_NODE_CONFIGS,
    BGP_PEERING_POLICIES,
    EVENTS,
    LEASES,
    NETWORK_POLICIES,
    NETWORK_POLICY_KINDS,
    NODES,
    POOLS,
    SERVICES,
    Resource,
)

Until = Callable[..., Any]
FOREIGN = "metallb.universe.tf/loadBalancerIPs"
LABEL = {"io.cilium/lb-ipam-ips": "pool-homelab"}


def pool() -> dict[str, Any]:
    return {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumLoadBalancerIPPool",
        "metadata": {"name": "homelab-pool"},
        "spec": {
            "cidrs": [{"cidr": "192.168.1.100/28"}],
            "serviceSelector": {"matchLabels": LABEL},
        },
    }


def service(name: str, labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"type": "LoadBalancer", "selector": {"app": name}, "ports": [{"port": 80}]},
    }


def node(name: str, address: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"node-role.kubernetes.io/worker": ""}},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }


def policy(name: str = "homelab-bgp-peering", **spec: Any) -> dict[str, Any]:
    router = {
        "localASN": 64512,
        "serviceSelector": {
            "matchExpressions": [
                {"key": "somekey", "operator": "NotIn", "values": ["never-used-value"]}
            ]
        },
        "neighbors": [{"peerAddress": "192.168.1.1", "peerASN": 64512, "eBGPMultihop": 1}],
    }
    return {
        "apiVersion": "cilium.io/v2alpha1",
        "kind": "CiliumBGPPeeringPolicy",
        "metadata": {"name": name},
        "spec": {"virtualRouters": [router], **spec},
    }


def ingress(obj: dict[str, Any]) -> list[str]:
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    return [entry["ip"] for entry in balancer.get("ingress") or ()]


def condition(obj: dict[str, Any], name: str) -> dict[str, Any]:
    for item in (obj.get("status") or {}).get("conditions") or ():
        if item["type"] == name:
            return dict(item)
    return {}


async def test_addresses_reasons_and_restarts(
    client: Client, processes: Any, kubeconfig: Path, until: Until
) -> None:
    command = ("operator", "--kubeconfig", str(kubeconfig), "--identity", "operator-0")
    operator = processes.start("operator", *command)
    await client.create(POOLS, pool())
    await client.create(SERVICES, service("my-web-app"))
    key = Key("default", "my-web-app")

    async def pending() -> Any:
        found = condition(await client.get(SERVICES, key), "cilium.io/IPAMRequestSatisfied")
        return found.get("status") == "False" and found

    message = (await until(pending, "pending condition"))["message"]
    assert "pool homelab-pool selects the label io.cilium/lb-ipam-ips=pool-homelab" in message

    async def told() -> Any:
        events, _ = await client.list(EVENTS, namespace="default")
        return [e for e in events if e["reason"] == "AddressPending" and e["message"] == message]

    await until(told, "Event that says why")
    await client.patch(SERVICES, key, {"metadata": {"labels": LABEL}})

    async def given() -> Any:
        return ingress(await client.get(SERVICES, key))

    assert await until(given, "address") == ["192.168.1.100"]

    async def counted() -> Any:
        found = await client.get(POOLS, Key("", "homelab-pool"))
        used = condition(found, "cilium.io/IPsUsed").get("message")
        return used == "1" and found

    stored = await until(counted, "pool counts")
    assert condition(stored, "cilium.io/IPsAvailable")["message"] == "11"
    assert "host bits" in condition(stored, "cairn.io/Findings")["message"]

    operator.kill()
    operator.wait()
    await client.create(SERVICES, service("another", LABEL))
    again = processes.start("operator2", *command)

    async def second() -> Any:
        return ingress(await client.get(SERVICES, Key("default", "another")))

    assert await until(second, "address after restart") == ["192.168.1.101"]
    assert await given() == ["192.168.1.100"]

    await client.patch(SERVICES, key, {"spec": {"type": "ClusterIP"}})

    async def released() -> Any:
        obj = await client.get(SERVICES, key)
        gone = not condition(obj, "cilium.io/IPAMRequestSatisfied")
        return gone and not ingress(obj)

    await until(released, "release")
    again.send_signal(signal.SIGTERM)
    assert again.wait(10) == 0


async def test_one_leads_and_hands_over(
    client: Client, processes: Any, kubeconfig: Path, until: Until
) -> None:
    first = processes.start(
        "first", "operator", "--kubeconfig", str(kubeconfig), "--identity", "one"
    )

    async def holder() -> Any:
        lease = await client.get(LEASES, Key("kube-system", "cairn-operator"))
        return lease["spec"]["holderIdentity"]

    assert await until(holder, "a leader") == "one"
    second = processes.start(
        "second", "operator", "--kubeconfig", str(kubeconfig), "--identity", "two"
    )

    async def waiting() -> Any:
        return "API server" in processes.log("second")

    await until(waiting, "the second operator is up")
    assert "leading" not in processes.log("second")
    first.terminate()
    assert first.wait(10) == 0

    async def handed_over() -> Any:
        return await holder() == "two"

    await until(handed_over, "the other leads", deadline_s=10)
    assert second.poll() is None


async def test_a_new_service_is_addressed_at_once(
    client: Client, processes: Any, kubeconfig: Path, until: Until
) -> None:
    processes.start("operator", "operator", "--kubeconfig", str(kubeconfig))
    await client.create(POOLS, pool())
    await client.create(SERVICES, service("first", LABEL))

    async def first() -> Any:
        return ingress(await client.get(SERVICES, Key("default", "first")))

    await until(first, "first address")
    took = []
    for number in range(5):
        start = time.monotonic()
        created = await client.create(SERVICES, service(f"s{number}", LABEL))
        version = created["metadata"]["resourceVersion"]
        async for _, obj in client.watch(SERVICES, resource_version=version):
            if obj["metadata"]["name"] == f"s{number}" and ingress(obj):
                break
        took.append(time.monotonic() - start)
    print(f"from creation to address: {[f'{1000 * t:.0f} ms' for t in took]}")
    assert min(took) < 0.5


async def test_bgp_objects(client: Client, processes: Any, kubeconfig: Path, until: Until) -> None:
    processes.start("operator", "operator", "--kubeconfig", str(kubeconfig))
    for number in (1, 2):
        obj = node(f"node-{number}", f"192.168.1.{9 + number}")
        await client.create(NODES, obj)
        await client.patch(
            NODES, Key("", f"node-{number}"), {"status": obj["status"]}, subresource="status"
        )
    selector = {"matchLabels": {"node-role.kubernetes.io/worker": ""}}
    await client.create(BGP_PEERING_POLICIES, policy(nodeSelector=selector))

    async def configs() -> Any:
        found, _ = await client.list(BGP_NODE_CONFIGS)
        return len(found) == 2 and found

    first = (await until(configs, "node configs"))[0]
    peer = first["spec"]["bgpInstances"][0]["peers"][0]
    assert (peer["peerAddress"], peer["peerASN"]) == ("192.168.1.1", 64512)
    report = {
        "bgpInstances": [
            {"peers": [{"peerAddress": "192.168.1.1", "peeringState": "established"}]}
        ],
        "announcements": [{"prefix": "192.168.1.100/32"}],
    }
    for number in (1, 2):
        key = Key("", f"node-{number}")
        await client.patch(BGP_NODE_CONFIGS, key, {"status": report}, subresource="status")

    async def established() -> Any:
        found = await client.get(BGP_PEERING_POLICIES, Key("", "homelab-bgp-peering"))
        return (found.get("status") or {}).get("sessions") == "2/2" and found

    found = await until(established, "2/2 sessions")
    assert found["status"]["announced"] == 1
    assert "eBGPMultihop is ignored" in condition(found, "cairn.io/Findings")["message"]

    async def advertised() -> Any:
        shown = await client.get(BGP_ADVERTISEMENTS, Key("", "homelab-bgp-peering"))
        status = shown.get("status") or {}
        return status.get("nodes") == ["node-1", "node-2"] and status

    status = await until(advertised, "advertisement from both nodes")
    assert status["addresses"] == ["192.168.1.100"]

    await client.create(BGP_PEERING_POLICIES, policy("second"))

    async def conflict() -> Any:
        second = await client.get(BGP_PEERING_POLICIES, Key("", "second"))
        return condition(second, "cairn.io/Conflict")

    message = (await until(conflict, "conflict condition"))["message"]
    assert "node-1 follows the older policy homelab-bgp-peering" in message
    await client.delete(BGP_PEERING_POLICIES, Key("", "homelab-bgp-peering"))

    async def taken_over() -> Any:
        found, _ = await client.list(BGP_NODE_CONFIGS)
        owners = [c["metadata"]["ownerReferences"][0]["name"] for c in found]
        return owners == ["second", "second"]

    await until(taken_over, "the second policy takes over")


async def test_what_is_not_honoured_is_said_at_the_object(
    client: Client, processes: Any, kubeconfig: Path, until: Until
) -> None:
    processes.start("operator", "operator", "--kubeconfig", str(kubeconfig))
    await client.create(POOLS, pool())
    asking = service("asking", LABEL)
    asking["metadata"]["annotations"] = {FOREIGN: "192.0.2.9"}
    await client.create(SERVICES, asking)

    key = Key("default", "asking")

    async def honoured() -> Any:
        obj = await client.get(SERVICES, key)
        return ingress(obj) and condition(obj, "cairn.io/Honoured")

    found = await until(honoured, "address and condition of the Service")
    assert f"annotation {FOREIGN} is not known to Cairn" in found["message"]
    assert condition(await client.get(SERVICES, key), "cilium.io/IPAMRequestSatisfied")

    async def told() -> Any:
        events, _ = await client.list(EVENTS, namespace="default")
        return [e["reason"] for e in events if "not known" in e["message"]]

    assert await until(told, "the Event") == ["AnnotationNotRead"]

    await client.patch(SERVICES, key, {"metadata": {"annotations": {FOREIGN: None}}})

    async def gone() -> Any:
        return not condition(await client.get(SERVICES, key), "cairn.io/Honoured")

    await until(gone, "the condition goes with its gap")
    assert ingress(await client.get(SERVICES, key)) == ["192.168.1.100"]


def network_policy(resource: Resource, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "deny", "namespace": "default"},
        "spec": spec,
    }


async def test_what_becomes_of_a_policy_is_said_at_it(
    client: Client, processes: Any, kubeconfig: Path, until: Until
) -> None:
    processes.start("operator", "operator", "--kubeconfig", str(kubeconfig))
    cnp, key = NETWORK_POLICY_KINDS[1], Key("default", "deny")
    written = network_policy(cnp, podSelector={"matchLabels": {"a": "b"}}, ingress=[{}])
    await client.create(cnp, written)
    open_egress = {"podSelector": {}, "policyTypes": ["Ingress"], "egress": [{}]}
    await client.create(NETWORK_POLICIES, network_policy(NETWORK_POLICIES, **open_egress))

    async def enforced() -> Any:
        return condition(await client.get(cnp, key), "cairn.io/Enforced")

    assert (await until(enforced, "condition of the policy"))["status"] == "True"
    stored = await client.get(cnp, key)
    assert condition(stored, "Valid")["status"] == "True"
    assert "read as endpointSelector" in condition(stored, "cairn.io/Findings")["message"]
    assert (stored["status"]["subject"], stored["status"]["directions"]) == ("a=b", "ingress")

    async def told() -> Any:
        events, _ = await client.list(EVENTS, namespace="default")
        found = {(e["involvedObject"]["kind"], e["reason"]): e["count"] for e in events}
        return len(found) == 2 and found

    assert await until(told, "one Event each") == {
        ("CiliumNetworkPolicy", "PodSelectorAlias"): 1,
        ("NetworkPolicy", "PolicyTypeMissing"): 1,
    }

    mark = {"policy.cilium.io/disabled": "true"}
    await client.patch(cnp, key, {"metadata": {"annotations": mark}})

    async def disabled() -> Any:
        return (await enforced())["reason"] == "PolicyDisabled"

    await until(disabled, "the policy is shown as disabled")
    await client.patch(cnp, key, {"metadata": {"annotations": dict.fromkeys(mark)}})

    async def again() -> Any:
        return (await enforced())["reason"] == "Enforced"

    await until(again, "the policy is shown as enforced again")
