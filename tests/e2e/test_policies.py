"""The document's policies, to the letter, between the scenario's pods: what passes and what not."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from lab_run import ROOT, LabRun, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

MANIFESTS = ROOT / "tests" / "vectors" / "scenario"
WEB_TIER = (MANIFESTS / "web-tier-policy.yaml").read_text()
DENY_ALL = (MANIFESTS / "default-deny-all.yaml").read_text()
WITHIN_S = 5.0
CONNECT_S = 1


@dataclass(frozen=True)
class Pod:
    """A pod of the scenario."""

    namespace: str
    name: str
    address: str
    node: str

    @property
    def host(self) -> str:
        return f"pod/{self.namespace}/{self.name}"


def pod(lab: LabRun, namespace: str, selector: str) -> Pod:
    """Return the first pod that a selector finds, once it is ready."""
    lab.kubectl(
        "wait", "-n", namespace, "-l", selector, "pod", "--for=condition=Ready", "--timeout=60s"
    )
    found = min(lab.pods(selector, namespace), key=lambda pod: str(pod["metadata"]["name"]))
    metadata, status = found["metadata"], found["status"]
    return Pod(namespace, metadata["name"], status["podIP"], found["spec"]["nodeName"])


def connects(lab: LabRun, source: str, address: str, port: int) -> bool:
    """Return whether a TCP connection begins."""
    words = ("timeout", str(CONNECT_S), "bash", "-c", f": < /dev/tcp/{address}/{port} && echo yes")
    return lab.on(source, *words, check=False).strip() == "yes"


def reached(lab: LabRun, asked: dict[str, tuple[str, str, int]]) -> set[str]:
    """Return which of these (source, address, port) connect, asked at the same time."""
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = pool.map(lambda one: connects(lab, *one), asked.values())
        return {name for name, answer in zip(asked, answers, strict=True) if answer}


@pytest.fixture
def tiers(lab: LabRun) -> Iterator[dict[str, Pod]]:
    """The pods of the tiers, without policies before and after."""
    found = {
        "web": pod(lab, "production", "tier=web"),
        "database": pod(lab, "production", "tier=database"),
        "ingress": pod(lab, "production", "app=nginx-ingress"),
        "other": pod(lab, "default", "app=web-app"),
    }
    yield found
    lab.kubectl("delete", "cnp", "-A", "--all")
    everything = ways(found)
    wait_for("connections as before", lambda: reached(lab, everything) == set(everything))


def ways(tiers: dict[str, Pod]) -> dict[str, tuple[str, str, int]]:
    """Return the connections that the policies are about."""
    web, database, ingress, other = (tiers[n] for n in ("web", "database", "ingress", "other"))
    return {
        "ingress > web": (ingress.host, web.address, 8080),
        "database > web": (database.host, web.address, 8080),
        "other > web": (other.host, web.address, 8080),
        "node > web": (web.node, web.address, 8080),
        "web > database": (web.host, database.address, 5432),
        "web > ingress": (web.host, ingress.address, 8080),
        "web > other": (web.host, other.address, 8080),
        "other > database": (other.host, database.address, 5432),
        "client > other": ("client-1", "192.168.1.100", 80),
    }


ALLOWED = {
    "ingress > web",
    "node > web",
    "web > database",
    "other > database",
    "client > other",
}
"""Of `ways`, by the web tier's policy."""


def log_of(lab: LabRun, node: str) -> str:
    """Return what a node's agent has said."""
    agents = lab.get("pods", "-n", "kube-system", "-l", "k8s-app=cairn")["items"]
    name = next(p["metadata"]["name"] for p in agents if p["spec"]["nodeName"] == node)
    return lab.kubectl("logs", "-n", "kube-system", name, "-c", "agent")


def endpoints(lab: LabRun) -> dict[str, dict[str, Any]]:
    found = lab.get("ciliumendpoints", "-A")["items"]
    return {obj["metadata"]["name"]: obj["status"] for obj in found}


def test_the_web_tier_is_closed_but_for_what_its_policy_allows(
    lab: LabRun, tiers: dict[str, Pod]
) -> None:
    asked = ways(tiers)
    assert reached(lab, asked) == set(asked)
    lab.apply(WEB_TIER)
    wait_for("the policy", lambda: reached(lab, asked) == ALLOWED, within_s=WITHIN_S)
    web = tiers["web"]
    line = f"to production/{web.name} ({web.address}:8080) TCP: default deny by CiliumNetworkPolicy/production/web-tier-policy"  # noqa: E501
    wait_for("its line", lambda: line in log_of(lab, web.node))

    def told() -> bool:
        status = endpoints(lab)[web.name]
        return bool(
            status["policy"]["ingress"]["enforcing"] and status["policy"]["egress"]["enforcing"]
        )

    wait_for("its CiliumEndpoint", told)
    labels = endpoints(lab)[web.name]["identity"]["labels"]
    assert "k8s:tier=web" in labels
    table = lab.kubectl("get", "ciliumendpoint", "-n", "production", web.name)
    assert re.search(r"INGRESS ENFORCEMENT +EGRESS ENFORCEMENT", table)


def test_the_web_tier_may_ask_for_the_names_of_its_policy_only(
    lab: LabRun, tiers: dict[str, Pod]
) -> None:
    web, other = tiers["web"], tiers["other"]
    name = "my-web-app.default.svc.cluster.local"

    def resolves(source: Pod) -> bool:
        words = ("timeout", "5", "getent", "hosts", name)
        return bool(lab.on(source.host, *words, check=False).strip())

    assert resolves(web)
    lab.apply(WEB_TIER)
    wait_for("the policy", lambda: not resolves(web), within_s=20)
    assert resolves(other)


def test_c14_a_policy_is_disabled_by_annotation(lab: LabRun, tiers: dict[str, Pod]) -> None:
    lab.apply(WEB_TIER)
    denied = ways(tiers)["database > web"]
    mine = ("cnp", "-n", "production", "web-tier-policy")
    wait_for("the policy", lambda: not connects(lab, *denied), within_s=WITHIN_S)
    lab.kubectl("annotate", *mine, "policy.cilium.io/disabled=true")
    wait_for("its absence", lambda: connects(lab, *denied), within_s=WITHIN_S)
    lab.kubectl("annotate", *mine, "policy.cilium.io/disabled-")
    wait_for("the policy again", lambda: not connects(lab, *denied), within_s=WITHIN_S)


def test_default_deny_closes_a_namespace_and_no_other(lab: LabRun, tiers: dict[str, Pod]) -> None:
    asked = ways(tiers)
    lab.apply(DENY_ALL)
    left = set(asked) - {"other > web", "other > database", "web > other", "client > other"}
    wait_for("the policy", lambda: reached(lab, asked) == left, within_s=WITHIN_S)
    assert connects(lab, tiers["other"].node, tiers["other"].address, 8080), "its probes go on"
    ready = lab.get("pods", "-n", "default", "-l", "app=web-app")["items"]
    assert all(c["status"] == "True" for p in ready for c in p["status"]["conditions"])
