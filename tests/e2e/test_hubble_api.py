"""Hubble's API in the lab: real traffic asked of nodes and of the relay's Service."""

import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from lab_run import KUBECTL, VIP, LabRun, wait_for

from cairn.hubble.proto import message
from cairn.lab import faults
from cairn.lab.state import load_lab

pytestmark = pytest.mark.lab

POLICIES = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web-takes-get, namespace: production}
spec:
  endpointSelector: {matchLabels: {tier: web}}
  ingress:
  - fromEndpoints: [{matchLabels: {app: nginx-ingress}}]
    toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: database-asks-one-name, namespace: production}
spec:
  endpointSelector: {matchLabels: {tier: database}}
  egress:
  - toFQDNs: [{matchName: my-web-app.default.svc.cluster.local}]
"""
NODES = ["node-1", "node-2", "node-3"]
Wanted = dict[str, Any]


@dataclass(frozen=True)
class Hubble:
    """A client of the API."""

    channel: Any

    def flows(self, follow_s: float = 5, mask: Sequence[str] = (), **request: Any) -> Iterator[Any]:
        """Yield the responses to a request; a follower gives up after a time."""
        asked = json_format.ParseDict(request, message("observer.GetFlowsRequest")())
        asked.field_mask.paths.extend(mask)
        call = self.channel.unary_stream(
            "/observer.Observer/GetFlows",
            response_deserializer=message("observer.GetFlowsResponse").FromString,
        )(asked.SerializeToString(), timeout=follow_s)
        try:
            yield from call
        finally:
            call.cancel()

    def found(self, **wanted: Any) -> list[Any]:
        """Return the flows that one filter holds for."""
        responses = self.flows(whitelist=[wanted])
        return [one.flow for one in responses if one.HasField("flow")]

    def status(self) -> Any:
        octets = self.channel.unary_unary("/observer.Observer/ServerStatus")(b"", timeout=5)
        return message("observer.ServerStatusResponse").FromString(octets)


def pod(lab: LabRun, namespace: str, selector: str) -> dict[str, Any]:
    return min(lab.pods(selector, namespace), key=lambda pod: str(pod["metadata"]["name"]))


def host(pod: dict[str, Any]) -> str:
    return f"pod/{pod['metadata']['namespace']}/{pod['metadata']['name']}"


@pytest.fixture(scope="module")
def relay(lab: LabRun) -> Iterator[Hubble]:
    """Through the relay's Service, as the document does it."""
    forward = subprocess.Popen(
        [
            *(KUBECTL, "--kubeconfig", lab.kubeconfig, "port-forward", "-n", "kube-system"),
            *("svc/hubble-relay", ":80"),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert forward.stdout
        port = forward.stdout.readline().split(":")[1].split()[0]
        with grpc.insecure_channel(f"localhost:{port}") as channel:
            yield Hubble(channel)
    finally:
        forward.terminate()
        forward.wait()


@pytest.fixture(scope="module")
def tiers(lab: LabRun) -> Iterator[dict[str, dict[str, Any]]]:
    """Pods, under policies; none before and after."""
    found = {
        "web": pod(lab, "production", "tier=web"),
        "database": pod(lab, "production", "tier=database"),
        "ingress": pod(lab, "production", "app=nginx-ingress"),
        "other": pod(lab, "default", "app=web-app"),
    }
    lab.apply(POLICIES)
    yield found
    lab.kubectl("delete", "cnp", "-n", "production", "--all")


def node_of(lab: LabRun, node: str) -> Hubble:
    path = load_lab(lab.name).node_files(node) / "run" / "cairn" / "hubble.sock"
    return Hubble(grpc.insecure_channel(f"unix:{path}"))


def knock(lab: LabRun, source: str, address: str, method: str = "GET") -> str:
    words = ("curl", "-s", "--max-time", "1", "-X", method, "-o", "/dev/null", "-w", "%{http_code}")
    return lab.on(source, *words, f"http://{address}:8080/page", check=False)


def test_a_request_to_the_vip_is_seen_by_node_and_relay(lab: LabRun, relay: Hubble) -> None:
    lab.web("client-1")
    wanted: Wanted = {"destination_pod": ["default/my-web-app"], "verdict": ["FORWARDED"]}
    asked = {**wanted, "source_ip": ["192.168.50.0/24"], "destination_port": ["8080"]}

    (flow, *_) = wait_for("the flow at the relay", lambda: relay.found(**asked))
    assert "reserved:world" in flow.source.labels
    assert flow.destination.workloads[0].name == "my-web-app"
    assert flow.node_name in NODES
    own = node_of(lab, flow.node_name).found(uuid=[flow.uuid])
    assert own == [flow]
    others = [node for node in NODES if node != flow.node_name]
    assert node_of(lab, others[0]).found(uuid=[flow.uuid]) == []
    assert [one.uuid for one in relay.found(uuid=[flow.uuid])] == [flow.uuid]


def test_a_drop_names_its_policy(
    lab: LabRun, relay: Hubble, tiers: dict[str, dict[str, Any]]
) -> None:
    web, other = tiers["web"], tiers["other"]
    address = web["status"]["podIP"]

    def dropped() -> list[Any]:
        knock(lab, host(other), address)
        return relay.found(
            source_pod=[f"default/{other['metadata']['name']}"],
            destination_pod=["production/"],
            verdict=["DROPPED"],
            drop_reason_desc=["POLICY_DENIED"],
        )

    flow = wait_for("the drop", dropped)[-1]
    assert [policy.name for policy in flow.ingress_denied_by] == ["web-takes-get"]
    assert flow.node_name == web["spec"]["nodeName"]
    assert (flow.l4.TCP.destination_port, flow.l4.TCP.flags.SYN) == (8080, True)
    policy: Wanted = {"drop_reason_desc": ["POLICY_DENIED"], "destination_pod": ["production/"]}
    assert relay.found(**policy, source_label=["app!=web-app"]) == []


def test_requests_are_seen_with_their_answers(
    lab: LabRun, relay: Hubble, tiers: dict[str, dict[str, Any]]
) -> None:
    source, address = host(tiers["ingress"]), tiers["web"]["status"]["podIP"]

    def proxied() -> bool:
        return knock(lab, source, address) == "200" and knock(lab, source, address, "POST") == "403"

    wait_for("the proxy", proxied, within_s=30)
    mine: Wanted = {"source_pod": ["production/nginx-ingress"], "http_path": ["^/page$"]}

    def told() -> bool:
        return bool(relay.found(**mine, http_status_code=["200"], http_method=["GET"])) and bool(
            relay.found(**mine, verdict=["DROPPED"], http_method=["post"])
        )

    wait_for("both requests", told)
    flow = relay.found(**mine, http_status_code=["2+"])[-1]
    assert flow.l7.http.url.endswith("/page")
    assert flow.destination.pod_name == tiers["web"]["metadata"]["name"]
    assert relay.found(**mine, http_status_code=["5+"]) == []


def test_lookups_are_seen_with_their_answers(
    lab: LabRun, relay: Hubble, tiers: dict[str, dict[str, Any]]
) -> None:
    name = "my-web-app.default.svc.cluster.local"

    def told() -> list[Any]:
        for asked in (name, "no.example.org"):
            lab.on(host(tiers["database"]), "timeout", "3", "getent", "hosts", asked, check=False)
        return relay.found(dns_query=["no[.]example"], verdict=["DROPPED"]) and relay.found(
            source_pod=["production/database"], protocol=["dns"], dns_query=[f"^{name}"]
        )

    flow = wait_for("the lookups", told)[-1]
    assert flow.l7.dns.query == f"{name}."
    assert flow.Type == 2


def test_a_follower_sees_what_happens(lab: LabRun, relay: Hubble) -> None:
    asked = {"destination_ip": [VIP], "destination_port": ["81"], "verdict": ["DROPPED"]}
    mask = ("verdict", "IP.source")
    responses = relay.flows(20, mask, follow=True, number=1, whitelist=[asked])
    first = next(responses)
    assert first.node_status.node_names == NODES
    lab.on("client-2", "curl", "-s", "--max-time", "0.5", f"http://{VIP}:81", check=False)
    flow = next(one.flow for one in responses if one.flow.IP.source == "192.168.1.50")
    assert flow.verdict == 2
    assert not flow.uuid
    responses.close()  # type: ignore[attr-defined]


def test_a_node_that_stands_still_is_named(lab: LabRun, relay: Hubble) -> None:
    responses = relay.flows(40, follow=True, whitelist=[{"destination_port": ["9"]}])
    assert next(responses).node_status.state_change == 1
    record = load_lab(lab.name)
    try:
        faults.inject(record, "agent-hangs", "node-3")
        told = next(one.node_status for one in responses if one.HasField("node_status"))
        assert (told.state_change, list(told.node_names)) == (2, ["node-3"])
        assert "node-3: " in told.message
        status = relay.status()
        assert status.unavailable_nodes == ["node-3"]
        assert (status.num_connected_nodes.value, status.num_unavailable_nodes.value) == (2, 1)
    finally:
        faults.clear(record)
    told = next(one.node_status for one in responses if one.HasField("node_status"))
    assert (told.state_change, list(told.node_names)) == (1, ["node-3"])


def test_what_the_agent_did_is_told(lab: LabRun, tiers: dict[str, dict[str, Any]]) -> None:
    node = tiers["web"]["spec"]["nodeName"]
    octets = node_of(lab, node).channel.unary_stream("/observer.Observer/GetAgentEvents")(b"")
    events = [message("observer.GetAgentEventsResponse").FromString(one) for one in octets]
    updates = [label for one in events for label in one.agent_event.policy_update.labels]
    assert "k8s:io.cilium.k8s.policy.name=web-takes-get" in updates
    written = [one.agent_event.endpoint_regenerate.labels for one in events]
    assert any("k8s:tier=web" in labels for labels in written)


def test_peers_are_the_nodes(lab: LabRun) -> None:
    call = node_of(lab, "node-1").channel.unary_stream("/peer.Peer/Notify")(b"", timeout=5)
    read = message("peer.ChangeNotification").FromString
    told = [read(next(call)) for _ in NODES]
    call.cancel()
    assert [(one.name, one.address, one.type) for one in told] == [
        (name, f"192.168.1.{10 + at}:4244", 1) for at, name in enumerate(NODES)
    ]
