"""Both families in a running lab: addresses, paths, names, and Services that change theirs."""

import ipaddress
import json
from typing import Any

import pytest
from lab_run import LabRun, wait_for
from service_bed import HOSTS, NODE_ADDRESSES

pytestmark = [pytest.mark.lab, pytest.mark.root]

WEB = "app=web-app"
ROUTER = ("192.168.1.1", "fd00:1::1")


def both(entries: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(entry["ip"] for entry in entries)


@pytest.fixture(scope="module")
def pods(lab: LabRun) -> list[dict[str, Any]]:
    """Return every pod, once each has its addresses."""

    def addressed() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = lab.get("pods", "-A")["items"]
        return found if all(pod["status"].get("podIPs") for pod in found) else []

    return wait_for("addresses of all pods", addressed)


@pytest.fixture(scope="module")
def web_pods(lab: LabRun) -> list[dict[str, Any]]:
    lab.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod", "-l", WEB)
    return lab.pods(WEB)


def test_nodes_tell_both_addresses_and_both_networks(lab: LabRun) -> None:
    for node in lab.get("nodes")["items"]:
        name, number = node["metadata"]["name"], node["metadata"]["name"][-1]
        entries = node["status"]["addresses"]
        found = tuple(e["address"] for e in entries if e["type"] == "InternalIP")
        assert found == NODE_ADDRESSES[name]
        assert node["spec"]["podCIDRs"] == [f"10.244.{number}.0/24", f"fd00:10:244:{number}::/64"]


def test_pods_have_an_address_of_each_family(pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        node, status = pod["spec"]["nodeName"], pod["status"]
        assert both(status["hostIPs"]) == NODE_ADDRESSES[node]
        if pod["spec"].get("hostNetwork"):
            assert both(status["podIPs"]) == NODE_ADDRESSES[node]
            continue
        four, six = map(ipaddress.ip_address, both(status["podIPs"]))
        assert four in ipaddress.ip_network(f"10.244.{node[-1]}.0/24")
        assert six in ipaddress.ip_network(f"fd00:10:244:{node[-1]}::/64")


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("version", [4, 6])
def test_every_host_reaches_the_router_and_node_1(lab: LabRun, host: str, version: int) -> None:
    for addresses in (ROUTER, NODE_ADDRESSES["node-1"]):
        lab.on(host, "ping", "-q", "-c1", "-W2", addresses[0 if version == 4 else 1])


def test_the_lan_reaches_the_nodes_by_the_router(lab: LabRun) -> None:
    route = json.loads(lab.on("client-1", "ip", "-j", "route", "get", "fd00:1::a"))
    assert route[0]["gateway"] == "fd00:50::1"


def test_pods_reach_pods_on_their_own_node_and_on_others(
    lab: LabRun, web_pods: list[dict[str, Any]]
) -> None:
    asking = web_pods[0]
    host = f"pod/default/{asking['metadata']['name']}"
    mine = both(asking["status"]["podIPs"])
    assert {pod["spec"]["nodeName"] for pod in web_pods} == set(NODE_ADDRESSES)
    for pod in web_pods:
        four, six = both(pod["status"]["podIPs"])
        for url, source in ((f"http://{four}:8080", mine[0]), (f"http://[{six}]:8080", mine[1])):
            page = lab.web(host, url)
            assert page["pod"] == pod["metadata"]["name"]
            assert page["client"] == source


def test_names_have_both_families(lab: LabRun, web_pods: list[dict[str, Any]]) -> None:
    host = f"pod/default/{web_pods[0]['metadata']['name']}"
    four, six = lab.get("service", "-n", "kube-system", "kube-dns")["spec"]["clusterIPs"]
    name = "kube-dns.kube-system.svc.cluster.local"
    for server in (four, six):
        for kind, address in (("A", four), ("AAAA", six)):
            assert lab.on(host, "dig", f"@{server}", "+short", kind, name) == f"{address}\n"
            found = lab.on(host, "dig", f"@{server}", "+short", "-x", address)
            assert found == f"{name}.\n"


def test_a_service_gains_and_loses_its_second_family(
    lab: LabRun, web_pods: list[dict[str, Any]]
) -> None:
    host = f"pod/default/{web_pods[0]['metadata']['name']}"

    def addresses() -> list[str]:
        return list(lab.get("service", "grows")["spec"]["clusterIPs"])

    def families() -> list[str]:
        words = ("endpointslices", "-l", "kubernetes.io/service-name=grows")
        return sorted(item["addressType"] for item in lab.get(*words)["items"])

    words = ("--name=grows", "--port=80", "--target-port=8080")
    lab.kubectl("expose", "deployment", "my-web-app", *words)
    try:
        (first,) = addresses()
        wait_for("endpoints of one family", lambda: families() == ["IPv4"])
        for policy, count in (("RequireDualStack", 2), ("SingleStack", 1), ("PreferDualStack", 2)):
            patch = json.dumps({"spec": {"ipFamilyPolicy": policy}})
            lab.kubectl("patch", "service", "grows", "-p", patch)
            assert addresses()[0] == first
            assert len(addresses()) == count
            wait_for(policy, lambda: families() == ["IPv4", "IPv6"][:count])  # noqa: B023
        second = addresses()[1]
        page = wait_for("an answer", lambda: try_web(lab, host, f"http://[{second}]"))
        assert page["client"] == both(web_pods[0]["status"]["podIPs"])[1]
    finally:
        lab.kubectl("delete", "service", "grows")


def try_web(lab: LabRun, host: str, url: str) -> dict[str, str]:
    """Return the page; empty while nothing answers."""
    text = lab.on(host, "curl", "-sS", "--max-time", "2", url, check=False)
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
