"""Network policies at the API server: refused with the field and a sentence, or noted."""

from typing import Any

import pytest
from apiserver_bed import Core
from policy_text import OF_CLUSTER, policy_object

from cairn.kube.crds import load
from cairn.kube.resource import POLICY_KINDS

MERGE = "application/merge-patch+json"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BAD = {
    "NetworkPolicy": (
        "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]}",
        "spec.ingress[0].from[0].ipBlock.cidr",
        "'10.0.0.0/33' is not a network: write one as 192.0.2.0/24 or 2001:db8::/32",
    ),
    "CiliumNetworkPolicy": (
        "{endpointSelector: {}, ingress: [{fromEndpoints: [{}], fromCIDR: [10.0.0.0/8]}]}",
        "spec.ingress[0]",
        "fromEndpoints and fromCIDR stand in one rule: write a rule for each",
    ),
    "CiliumClusterwideNetworkPolicy": (
        "{endpointSelector: {}, ingress: [{fromEntities: [host], toPortz: []}]}",
        "spec.ingress[0].toPortz",
        "unknown field",
    ),
    "ClusterNetworkPolicy": (
        "{tier: Admin, priority: 1, subject: {namespaces: {}}, egress: "
        "[{action: Deny, to: [{domainNames: [example.com]}]}]}",
        "spec.egress[0].to[0].domainNames",
        "names are for Accept alone, not for Deny: write networks",
    ),
}
GOOD = {
    "NetworkPolicy": "{podSelector: {}}",
    "CiliumNetworkPolicy": "{endpointSelector: {}, ingress: [{}]}",
    "CiliumClusterwideNetworkPolicy": "{endpointSelector: {}, ingress: [{}]}",
    "ClusterNetworkPolicy": "{tier: Admin, priority: 1, subject: {namespaces: {}}}",
}


@pytest.fixture
def policies(core: Core) -> Core:
    """A server that knows every kind of policy, with the namespace `shop`."""
    core.create("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    for crd in load():
        if crd["spec"]["names"]["kind"] in GOOD:
            core.create(CRDS, crd)
    return core


def place(kind: str) -> str:
    (resource,) = [known for known in POLICY_KINDS if known.kind == kind]
    return resource.path(None if kind in OF_CLUSTER else "shop")


@pytest.mark.parametrize("mode", ["Strict", "Warn", "Ignore"])
@pytest.mark.parametrize("kind", sorted(BAD))
def test_what_is_not_understood_is_refused(policies: Core, kind: str, mode: str) -> None:
    spec, field, words = BAD[kind]
    answer = policies.send(
        "POST", f"{place(kind)}?fieldValidation={mode}", policy_object(kind, spec)
    )
    assert (answer.code, answer.value["reason"]) == (422, "Invalid")
    (cause,) = answer.value["details"]["causes"]
    assert (cause["field"], cause["reason"]) == (field, "FieldValueInvalid")
    assert words in cause["message"]
    assert field in answer.value["message"]
    assert policies.send("GET", f"{place(kind)}/p").code == 404


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_an_update_to_what_is_not_understood_is_refused(policies: Core, kind: str) -> None:
    made = policies.create(place(kind), policy_object(kind, GOOD[kind]))
    bad = policy_object(kind, BAD[kind][0])["spec"]
    put = policies.send("PUT", f"{place(kind)}/p", made | {"spec": bad})
    patch = policies.send("PATCH", f"{place(kind)}/p", {"spec": bad}, content_type=MERGE)
    for answer in (put, patch):
        assert answer.code == 422
        assert answer.value["details"]["causes"][0]["field"] == BAD[kind][1]
    assert policies.send("GET", f"{place(kind)}/p").value["spec"] == made["spec"]


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_disabling_a_policy_is_warned_of(policies: Core, kind: str) -> None:
    made = policies.send("POST", place(kind), policy_object(kind, GOOD[kind]))
    assert (made.code, made.headers.get("Warning")) == (201, None)
    mark = {"metadata": {"annotations": {"policy.cilium.io/disabled": "true"}}}
    answer = policies.send("PATCH", f"{place(kind)}/p", mark, content_type=MERGE)
    assert answer.code == 200
    assert "is not enforced while its annotation" in answer.headers["Warning"]


def test_findings_are_warnings(policies: Core) -> None:
    spec = "{endpointSelector: {}, egress: [{toFQDNs: [{matchName: example.com}]}]}"
    kind = "CiliumNetworkPolicy"
    answer = policies.send("POST", place(kind), policy_object(kind, spec))
    assert answer.code == 201
    assert "queries for just these names are let through" in answer.headers["Warning"]


def test_a_status_may_be_written_to_a_policy(policies: Core) -> None:
    kind = "ClusterNetworkPolicy"
    policies.create(place(kind), policy_object(kind, GOOD[kind]))
    conditions = [{"type": "Valid", "status": "True"}]
    status = {"status": {"subject": "all pods", "conditions": conditions}}
    answer = policies.send("PATCH", f"{place(kind)}/p/status", status, content_type=MERGE)
    assert answer.value["status"] == status["status"]


def cells(core: Core, kind: str) -> dict[str, Any]:
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = core.send("GET", place(kind), accept=accept).value
    heads = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(heads, table["rows"][0]["cells"], strict=True))


def test_columns_tell_what_a_policy_is_about(policies: Core) -> None:
    kind = "CiliumNetworkPolicy"
    policies.create(place(kind), policy_object(kind, GOOD[kind]))
    conditions = [{"type": "Valid", "status": "True"}]
    status = {"subject": "a=b", "directions": "ingress", "conditions": conditions}
    policies.send("PATCH", f"{place(kind)}/p/status", {"status": status}, content_type=MERGE)
    found = cells(policies, kind)
    assert (found["Valid"], found["Subject"], found["Directions"]) == ("True", "a=b", "ingress")


def test_the_short_name_of_policies_is_ciliums() -> None:
    short = [
        (name, crd["spec"]["names"]["kind"])
        for crd in load()
        for name in crd["spec"]["names"].get("shortNames") or ()
    ]
    assert ("cnp", "CiliumNetworkPolicy") in short
    assert len({name for name, _ in short}) == len(short)
