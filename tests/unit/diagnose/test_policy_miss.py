"""The words of a denial rest on the same reading of the rules as the Engine's verdict."""

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_cases import TCP, UDP, world

from cairn.abi.structs import Identity
from cairn.diagnose.policy.end import as_seen_from
from cairn.diagnose.policy.ends import find_ends
from cairn.diagnose.policy.miss import Place
from cairn.diagnose.policy.near import Question, misses, requires_of, selects
from cairn.diagnose.policy.trace import verdict_of
from cairn.kube.policy.rule import Action, Direction

POD_LABELS = [
    {},
    {"tier": "web"},
    {"tier": "database"},
    {"app": "client"},
    {"k8s:io.kubernetes.pod.namespace": "default"},
    {"k8s:io.kubernetes.pod.namespace": "default", "app": "client"},
]
ENDS = [
    "production/web-app",
    "production/database",
    "default/client",
    "kube-system/kube-dns",
    "host",
    "node/node-2",
    "kube-apiserver",
    "192.0.2.1",
    "192.0.2.200",
    "2001:db8::1",
    "198.51.100.1",
    "health",
]
NAMES = ["api.github.com", "www.example.org"]
PORTS = st.sampled_from(
    [
        [{"port": "80", "protocol": "TCP"}],
        [{"port": "0"}],
        [{"port": "70", "endPort": 90, "protocol": "ANY"}],
        [{"port": "main", "protocol": "TCP"}],
        [{"port": "53", "protocol": "UDP"}, {"port": "443"}],
    ]
)


@st.composite
def rules(draw: st.DrawFn, way: str, *, egress: bool, deny: bool) -> dict[str, Any]:
    labels = st.lists(st.sampled_from(POD_LABELS), min_size=1, max_size=2)
    entities = ["all", "world", "world-ipv4", "cluster", "host", "remote-node", "kube-apiserver"]
    options: list[st.SearchStrategy[dict[str, Any]]] = [
        st.just({}),
        labels.map(lambda chosen: {f"{way}Endpoints": [{"matchLabels": one} for one in chosen]}),
        st.sampled_from(entities).map(lambda one: {f"{way}Entities": [one]}),
        st.sampled_from(["0.0.0.0/0", "192.0.2.0/24", "::/0"]).map(
            lambda one: {f"{way}CIDR": [one]}
        ),
        st.just({f"{way}CIDRSet": [{"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}]}),
    ]
    if egress and not deny:
        fqdns = [{"matchName": NAMES[0]}, {"matchPattern": "*.example.org"}]
        options.append(st.sampled_from(fqdns).map(lambda one: {"toFQDNs": [one]}))
    rule = dict(draw(st.one_of(options)))
    if draw(st.booleans()) or not rule:
        rule["toPorts"] = [{"ports": draw(PORTS)}]
    return rule


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    subject = draw(st.sampled_from([{}, {"tier": "web"}, {"app": "database"}]))
    spec: dict[str, Any] = {"endpointSelector": {"matchLabels": subject}}
    for name, way, egress, deny in (
        ("ingress", "from", False, False),
        ("egress", "to", True, False),
        ("ingressDeny", "from", False, True),
        ("egressDeny", "to", True, True),
    ):
        found = draw(st.lists(rules(way, egress=egress, deny=deny), max_size=2))
        if found:
            spec[name] = found
    return spec if len(spec) > 1 else {**spec, "ingress": [{}]}


@settings(max_examples=120, deadline=None)
@given(
    st.lists(specs(), min_size=1, max_size=2),
    st.sampled_from(ENDS),
    st.sampled_from([*ENDS, *NAMES]),
    st.sampled_from([(TCP, 80), (TCP, 8080), (UDP, 53), (TCP, 443), (TCP, 5432)]),
)
def test_a_rule_without_a_miss_is_one_that_the_engine_counts(
    written: list[dict[str, Any]], subject: str, other: str, at: tuple[int, int]
) -> None:
    text = "---\n".join(
        yaml.safe_dump(
            {
                "kind": "CiliumNetworkPolicy",
                "metadata": {"name": f"p{number}", "namespace": "production"},
                "spec": spec,
            }
        )
        for number, spec in enumerate(written)
    )
    around = world(text)
    assert around.invalid == {}
    (own, *_), (remote, *_) = find_ends(around, subject), find_ends(around, other)
    for direction in Direction:
        if direction is Direction.INGRESS and remote.dns_name:
            continue
        asked = Question(own, as_seen_from(remote, own), Place(*at), direction)
        verdict = verdict_of(around, asked)
        if verdict is None or own.namespace != "production":
            continue
        about = [p for p in around.policies.values() if selects(p, own)]
        requires = requires_of(about, asked)
        hits = {
            rule.action
            for policy in about
            for rule in policy.rules
            if rule.direction is direction and not misses(policy, rule, asked, around, requires)
        }
        isolated = any(direction in policy.isolates for policy in about)
        own_node = direction is Direction.INGRESS and asked.other.identity == Identity.HOST
        open_ = Action.ALLOW in hits or not isolated
        assert verdict.allows == (own_node or (Action.DENY not in hits and open_)), (text, asked)
