"""Whatever an object holds, it is read as policies or refused in one sentence, and nothing else."""

import os
import re
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cairn.apiserver.policy_rules import policy_errors, policy_notes
from cairn.kube.policy.cilium_peer import KINDS
from cairn.kube.policy.cilium_section import SECTIONS
from cairn.kube.policy.read import READERS, read_policies
from cairn.kube.policy.regex import check_regex
from cairn.kube.policy.rule import InvalidPolicy, Policy
from cairn.kube.policy.standing import State, standing_of

FOREIGN = r"\\[pPQEzxC]|\[\[|\[:|\(\?[^:]|--|&&|\|\||~~|([$^]|\\[AbB])[*+?{]"
"""What RE2 and Python spell or see differently."""
CASES = int(os.environ.get("CAIRN_POLICY_CASES", "300"))

WORDS = st.sampled_from(
    (
        "a",
        "",
        "web",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "2001:db8::1",
        "80",
        "http",
        "TCP",
        "ANY",
        "ICMP",
        "Ingress",
        "Egress",
        "world",
        "reserved:host",
        "k8s:app",
        "io.kubernetes.pod.namespace",
        "*.example.com",
        "/a(.*)",
        "Accept",
        "Deny",
        "Admin",
        "In",
        "Exists",
        "true",
    )
)
SCALARS = st.none() | st.booleans() | st.integers(-1, 70_000) | WORDS | st.text(max_size=4)
NAMES = st.sampled_from(
    sorted(
        {section.name for section in SECTIONS}
        | {f"{word}{kind}" for word in ("from", "to") for kind in (*KINDS, "Requires")}
        | {"endpointSelector", "podSelector", "nodeSelector", "namespaceSelector", "policyTypes"}
        | {"enableDefaultDeny", "matchLabels", "matchExpressions", "key", "operator", "values"}
        | {"toPorts", "ports", "port", "endPort", "protocol", "rateLimit", "requestsPerSecond"}
        | {"rules", "http", "dns", "method", "path", "headers", "headerMatches", "serverNames"}
        | {"cidr", "except", "cidrGroupRef", "ipBlock", "from", "to", "icmps", "fields", "type"}
        | {"k8sService", "serviceName", "namespace", "matchName", "matchPattern", "log", "specs"}
        | {"tier", "priority", "subject", "namespaces", "pods", "nodes", "networks", "action"}
        | {"domainNames", "protocols", "tcp", "destinationPort", "number", "range", "start"}
    )
)
JSON: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(NAMES, inner, max_size=4)
        | st.dictionaries(WORDS, inner, max_size=2)
    ),
    max_leaves=20,
)

# Near misses: the right shape, with something wrong put in somewhere.
LABELS = st.dictionaries(
    st.sampled_from(("app", "k8s:a", "reserved:host", "x:y")), WORDS, max_size=2
)
SELECTOR: st.SearchStrategy[Any] = (
    st.fixed_dictionaries({"matchLabels": LABELS}) | st.just({}) | JSON
)
PORTS = st.lists(
    st.fixed_dictionaries(
        {
            "ports": st.lists(
                st.fixed_dictionaries({"port": SCALARS, "protocol": WORDS}), max_size=2
            )
        },
        optional={"rules": st.dictionaries(st.sampled_from(("http", "dns")), JSON, max_size=1)},
    ),
    max_size=2,
)
RULES = st.lists(
    st.dictionaries(NAMES, JSON | st.lists(SELECTOR, max_size=2) | PORTS, max_size=3), max_size=2
)
SPEC = (
    st.fixed_dictionaries(
        {"endpointSelector": SELECTOR},
        optional={section.name: RULES for section in SECTIONS},
    )
    | st.fixed_dictionaries({"podSelector": SELECTOR}, optional={"ingress": RULES, "egress": RULES})
    | JSON
)
OBJECTS = st.fixed_dictionaries(
    {"kind": st.sampled_from(sorted(READERS)), "spec": SPEC},
    optional={
        "metadata": st.fixed_dictionaries(
            {"name": WORDS},
            optional={
                "namespace": WORDS,
                "annotations": st.dictionaries(
                    st.sampled_from(("policy.cilium.io/disabled", "cairn.io/host-guard")),
                    SCALARS,
                    max_size=2,
                ),
            },
        )
        | JSON,
        "specs": JSON,
    },
)


@settings(max_examples=CASES, deadline=None)
@given(OBJECTS)
def test_any_object_is_read_or_refused(obj: dict[str, Any]) -> None:
    policies, error = outcome(obj)
    if error is not None:
        assert error.path
        assert error.reason
        (fault,) = policy_errors(obj, None)
        assert fault.field == error.path
        assert policy_notes(obj) == []
        assert standing_of(obj).state is State.INVALID
        return
    assert policies
    assert policy_errors(obj, None) == []
    assert len({policy.ref for policy in policies}) == len(policies)
    for policy in policies:
        assert (policy.subject is None) != (policy.nodes is None)
        assert len({rule.path for rule in policy.rules}) == len(policy.rules)
        assert all(rule.peers or rule.matches or not _is_cilium(obj) for rule in policy.rules)
    standing = standing_of(obj)
    assert standing.subject
    assert standing.state is not State.INVALID


@settings(max_examples=CASES, deadline=None)
@given(st.text(alphabet="ab(|)[]{}*+?\\^$.,-:!=<>P123dwxpLQE", max_size=24))
def test_an_expression_that_passes_means_the_same_elsewhere(text: str) -> None:
    """Python's engine knows nearly all of RE2's syntax, so what passes must compile there too."""
    if passes(text) and not re.search(FOREIGN, text):
        re.compile(text)


def outcome(obj: dict[str, Any]) -> tuple[tuple[Policy, ...], InvalidPolicy | None]:
    try:
        return read_policies(obj), None
    except InvalidPolicy as error:
        return (), error


def passes(text: str) -> bool:
    try:
        check_regex(text, "p")
    except InvalidPolicy:
        return False
    return True


def _is_cilium(obj: dict[str, Any]) -> bool:
    return str(obj["kind"]).startswith("Cilium")
