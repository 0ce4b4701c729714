"""Recorded flows under other policies, and policies from recorded flows."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from policy_cases import CLUSTER, cilium, read, world

from cairn.diagnose.policy.replay import Replayer, replay
from cairn.diagnose.policy.seen import observe
from cairn.diagnose.policy.suggest import Suggestion, policy_object, suggest
from cairn.diagnose.policy.suggest_text import suggestions_text
from cairn.diagnose.policy.world import World
from cairn.flow.record import Flow, FlowEnd
from cairn.kube.policy.rule import PolicyRef
from cairn.net import parse_address

WHEN = datetime(2026, 3, 1, tzinfo=UTC)
PODS = {
    f"{obj['metadata']['namespace']}/{obj['metadata']['name']}": obj
    for obj in CLUSTER
    if obj["kind"] == "Pod"
}
WORLD_END = FlowEnd(identity=2, labels={"reserved:world": ""})
WEB, DB, INGRESS = "production/web-app", "production/database", "production/nginx-ingress"
CLIENT, DNS = "default/client", "kube-system/kube-dns"


def end(name: str) -> tuple[FlowEnd, str]:
    """Return a flow's end and its address: a pod of the cluster, or an address outside."""
    if name not in PODS:
        return WORLD_END, name
    metadata = PODS[name]["metadata"]
    labels = {**metadata["labels"], "pod-template-hash": "5c9d8f7b6c"}
    where, called = metadata["namespace"], metadata["name"]
    pod = FlowEnd(where, called, labels, 300, f"Deployment/{called}")
    return pod, PODS[name]["status"]["podIPs"][0]["ip"]


def flow(sender: str, receiver: str, port: int, **more: object) -> Flow:
    (source, one), (destination, other) = end(sender), end(receiver)
    made = Flow(
        WHEN,
        "FORWARDED",
        source,
        destination,
        parse_address(one),
        parse_address(other),
        17 if port == 53 else 6,
        port,
        40000,
    )
    return replace(made, **more)  # type: ignore[arg-type]


GITHUB = {"names": ("api.github.com",)}
RECORDED = [
    flow(INGRESS, WEB, 8080),
    flow(INGRESS, WEB, 8080),
    flow(WEB, DB, 5432),
    flow(CLIENT, DB, 5432),
    flow(WEB, "140.82.112.6", 443, **GITHUB),
    flow(WEB, DNS, 53, dns_query="api.github.com"),
    flow(DB, WEB, 40000, is_reply=True),
]
TIERS = cilium(
    "endpointSelector: {matchLabels: {tier: database}}\n"
    "ingress: [{fromEndpoints: [{matchLabels: {tier: web}}]}]"
)


def test_flows_that_would_be_denied() -> None:
    found = replay(RECORDED, world(), world(TIERS))
    assert (found.judged, found.replies, found.denied, found.allowed) == (6, 1, 1, 0)
    (row,) = found.rows
    assert (row.sender, row.receiver, row.at, row.flows) == (CLIENT, DB, "5432/TCP", 1)
    assert (row.before, row.after) == ("allowed", "denied")
    assert row.rule == "CiliumNetworkPolicy/production/p default deny"


def test_the_same_policies_change_nothing() -> None:
    found = replay(RECORDED, world(TIERS), world(TIERS))
    assert found.rows == []
    assert found.otherwise == 1, "the client's flow passed when it was recorded"


def test_a_pod_that_is_gone_is_judged_by_its_labels() -> None:
    gone = replace(RECORDED[2].source, pod="web-app-old", labels={"tier": "web"})
    old = replace(RECORDED[2], source=gone, source_address=parse_address("10.244.9.9"))
    assert replay([old], world(), world(TIERS)).rows == []
    other = replace(old, source=replace(gone, labels={"tier": "other"}))
    assert replay([other], world(), world(TIERS)).denied == 1


def test_names_and_requests_are_judged() -> None:
    policy = cilium(
        "endpointSelector: {matchLabels: {tier: web}}\n"
        "egress: [{toFQDNs: [{matchName: api.github.com}]}]\n"
        "ingress:\n- fromEndpoints: [{}]\n"
        '  toPorts: [{ports: [{port: "8080", protocol: TCP}], rules: {http: [{method: GET}]}}]'
    )
    asked = [
        flow(INGRESS, WEB, 8080, http=("GET", "http://web/")),
        flow(INGRESS, WEB, 8080, http=("POST", "http://web/")),
        flow(WEB, "140.82.112.6", 443, **GITHUB),
        flow(WEB, "140.82.112.6", 443),
        flow(WEB, DNS, 53, dns_query="api.github.com"),
        flow(WEB, DNS, 53, dns_query="evil.example"),
    ]
    then = Replayer(world(policy))
    assert [then.judge(one).allowed for one in asked] == [True, False, True, False, True, False]


def suggestions(flows: Iterable[Flow]) -> list[Suggestion]:
    return suggest(observe(flows, world()))


def under(found: list[Suggestion]) -> World:
    """Return the cluster with the suggestions in it, read from their own text."""
    objects = [obj for obj in yaml.safe_load_all(suggestions_text(found)) if obj]
    assert objects == [policy_object(one) for one in found]
    made = world().changed(objects)
    assert made.invalid == {}
    return made


def test_suggestions_read_as_a_person_writes_them() -> None:
    text = suggestions_text(suggestions(RECORDED))
    objects = {obj["metadata"]["name"]: obj for obj in read(text)}
    assert "pod-template-hash" not in text
    web = objects["web-app-web"]["spec"]
    assert web["endpointSelector"] == {"matchLabels": {"app": "web-app", "tier": "web"}}
    assert web["ingress"] == [
        {
            "fromEndpoints": [{"matchLabels": {"app": "nginx-ingress"}}],
            "toPorts": [{"ports": [{"port": "8080", "protocol": "TCP"}]}],
        }
    ]
    assert {"toFQDNs", "toPorts"} in [set(rule) for rule in web["egress"]]
    dns = next(r for r in web["egress"] if "rules" in r["toPorts"][0])
    assert dns["toPorts"][0]["rules"] == {"dns": [{"matchName": "api.github.com"}]}
    assert "# 2 flows from nginx-ingress" in text
    assert objects["nginx-ingress"]["spec"]["ingress"] == [{}]
    both = objects["database"]["spec"]["ingress"]
    (peers,) = [rule["fromEndpoints"] for rule in both]
    assert len(peers) == 2, "peers at the same port are one rule"


def test_only_what_passed_is_suggested() -> None:
    denied = [replace(one, verdict="DROPPED") for one in RECORDED]
    assert suggestions(denied) == []


def test_one_namespace_alone() -> None:
    found = suggest(observe(RECORDED, world()), "default")
    assert [one.subject.namespace for one in found] == ["default"]


OUTSIDE = ["198.51.100.7", "198.51.100.8", "2001:db8::7"]
SITES = {"a.example.org": "203.0.113.1", "b.example.org": "203.0.113.2"}


@st.composite
def recorded(draw: st.DrawFn) -> Flow:
    kind = draw(st.sampled_from(["pods", "pods", "in", "out", "name", "dns", "ping"]))
    pods = sorted(PODS)
    one = draw(st.sampled_from(pods))
    port = draw(st.sampled_from([80, 443, 5432, 8080]))
    if kind == "pods":
        return flow(one, draw(st.sampled_from(pods)), port)
    if kind == "in":
        return flow(draw(st.sampled_from(OUTSIDE)), one, port)
    if kind == "out":
        return flow(one, draw(st.sampled_from(OUTSIDE)), port)
    if kind == "name":
        name = draw(st.sampled_from(sorted(SITES)))
        return flow(one, SITES[name], port, names=(name,))
    if kind == "dns":
        name = draw(st.sampled_from(["", *SITES]))
        return flow(one, DNS, 53, dns_query=name)
    return flow(one, draw(st.sampled_from(pods)), 8 << 8, protocol=1, source_port=0)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(recorded(), min_size=1, max_size=12))
def test_suggestions_let_all_flows_through_and_none_of_their_rules_is_needless(
    flows: list[Flow],
) -> None:
    found = suggestions(flows)
    assume(found)
    made = under(found)
    passed = Replayer(made)
    assert [one for one in flows if not passed.judge(one).allowed] == []
    for policy in made.policies.values():
        for rule in policy.rules:
            if rule.implied or _is_for_names(made, policy.ref, rule.path):
                continue
            rest = tuple(other for other in policy.rules if other is not rule)
            poorer = Replayer(_with(made, policy.ref, rest))
            denied = [one for one in flows if not poorer.judge(one).allowed]
            assert denied, f"{policy.ref} {rule.path} is for nothing"


def _is_for_names(made: World, ref: PolicyRef, path: str) -> bool:
    """Return whether a rule is for the DNS of names: without it one is implied."""
    rule = made.policies[ref]
    return any(r.path == path and r.dns is not None for r in rule.rules)


def _with(made: World, ref: PolicyRef, rules: tuple[object, ...]) -> World:
    poorer = World(made.objects)
    poorer.engine.put_policy(replace(made.policies[ref], rules=rules))  # type: ignore[arg-type]
    return poorer


@pytest.mark.parametrize("count", [2, 40])
def test_very_many_addresses_become_the_world(count: int) -> None:
    flows = [flow(f"198.51.100.{n}", WEB, 8080) for n in range(1, count)]
    (found,) = suggestions(flows)
    (rule,) = policy_object(found)["spec"]["ingress"]
    assert ("fromEntities" in rule) == (count == 40)
    judged = Replayer(under([found]))
    assert all(judged.judge(one).allowed for one in flows)
