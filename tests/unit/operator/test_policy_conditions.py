"""What stands at a network policy: valid, enforced or not, and what its author should know."""

from typing import Any

import pytest
from policy_text import policy_object

from cairn.kube.policy.standing import State, standing_of
from cairn.operator.policies import policy_conditions

KIND = "CiliumNetworkPolicy"
GOOD = "{endpointSelector: {matchLabels: {a: b}}, ingress: [{fromEntities: [host]}]}"


def told(spec: str, **annotations: str) -> dict[str, tuple[str, str, str]]:
    standing = standing_of(policy_object(KIND, spec, **annotations))
    found = policy_conditions(standing, 3)
    assert {item["observedGeneration"] for item in found} == {3}
    return {item["type"]: (item["status"], item["reason"], item["message"]) for item in found}


def test_a_good_policy_is_valid_and_enforced() -> None:
    assert told(GOOD) == {
        "Valid": ("True", "Valid", ""),
        "cairn.io/Enforced": ("True", "Enforced", "every node's agent enforces it"),
    }


def test_an_invalid_policy_says_where_and_why() -> None:
    found = told("{endpointSelector: {}, ingress: [{fromEntities: [moon]}]}")
    status, reason, message = found["Valid"]
    assert (status, reason) == ("False", "InvalidPolicy")
    assert message.startswith("spec.ingress[0].fromEntities[0]: 'moon' is unknown")
    assert found["cairn.io/Enforced"][:2] == ("False", "InvalidPolicy")
    assert message in found["cairn.io/Enforced"][2]


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ("policy.cilium.io/disabled", "PolicyDisabled"),
        ("policy.cilium.io/audit-mode", "PolicyAudited"),
    ],
)
def test_a_policy_out_of_force_says_by_what(annotation: str, reason: str) -> None:
    found = told(GOOD, **{annotation: "true"})
    assert found["Valid"][0] == "True"
    assert found["cairn.io/Enforced"][:2] == ("False", reason)
    assert annotation in found["cairn.io/Enforced"][2]
    assert "cairn.io/Findings" not in found


def test_findings_stand_in_a_condition_of_their_own() -> None:
    found = told("{podSelector: {}, ingress: [{fromCIDR: [0.0.0.0/0]}]}")
    status, reason, message = found["cairn.io/Findings"]
    assert (status, reason) == ("True", "PodSelectorAlias")
    assert "0.0.0.0/0 is the world outside the cluster" in message


@pytest.mark.parametrize(
    ("kind", "spec", "subject", "directions"),
    [
        (KIND, GOOD, "a=b", "ingress"),
        (
            KIND,
            "{endpointSelector: {}, egress: [{}], ingress: [{}]}",
            "all pods",
            "ingress, egress",
        ),
        ("NetworkPolicy", "{podSelector: {}, policyTypes: [Egress]}", "all pods", "egress"),
        (
            "CiliumClusterwideNetworkPolicy",
            "{nodeSelector: {matchLabels: {role: x}}, ingress: [{}]}",
            "nodes role=x",
            "ingress",
        ),
        (
            "CiliumClusterwideNetworkPolicy",
            "{nodeSelector: {}, egressDeny: [{toEntities: [world]}]}",
            "all nodes",
            "egress",
        ),
        (
            "ClusterNetworkPolicy",
            "{tier: Admin, priority: 1, subject: {namespaces: {matchLabels: {team: x}}}}",
            "namespace:team=x",
            "",
        ),
    ],
)
def test_columns_say_what_a_policy_is_about(
    kind: str, spec: str, subject: str, directions: str
) -> None:
    standing = standing_of(policy_object(kind, spec))
    assert (standing.subject, standing.directions) == (subject, directions)


def test_specs_of_several_subjects_are_all_named() -> None:
    obj: dict[str, Any] = policy_object(KIND, GOOD)
    obj["specs"] = [{"endpointSelector": {"matchLabels": {"c": "d"}}, "egress": [{}]}]
    standing = standing_of(obj)
    assert standing.state is State.ENFORCED
    assert (standing.subject, standing.directions) == ("a=b; c=d", "ingress, egress")
