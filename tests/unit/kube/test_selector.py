"""Label selectors mean what metav1.LabelSelector says."""

from typing import Any

import pytest

from cairn.kube.selector import InvalidSelector, parse_selector

LABELS = {"app": "web", "tier": "front"}

CASES: list[tuple[dict[str, Any] | None, bool]] = [
    (None, True),
    ({}, True),
    ({"matchLabels": {"app": "web"}}, True),
    ({"matchLabels": {"app": "web", "tier": "back"}}, False),
    ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["db", "web"]}]}, True),
    ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
    ({"matchExpressions": [{"key": "none", "operator": "NotIn", "values": ["x"]}]}, True),
    ({"matchExpressions": [{"key": "tier", "operator": "Exists"}]}, True),
    ({"matchExpressions": [{"key": "tier", "operator": "DoesNotExist"}]}, False),
    ({"matchExpressions": [{"key": "other", "operator": "Exists"}]}, False),
]


@pytest.mark.parametrize(("raw", "expected"), CASES)
def test_matches(raw: dict[str, Any] | None, expected: bool) -> None:
    assert parse_selector(raw).matches(LABELS) is expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ({"operator": "In", "values": ["a"]}, "key is missing"),
        ({"key": "a", "operator": "Near", "values": ["a"]}, "'Near'"),
        ({"key": "a", "operator": "In"}, "needs values"),
        ({"key": "a", "operator": "Exists", "values": ["a"]}, "takes no values"),
    ],
)
def test_what_is_wrong_is_named(expression: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidSelector, match=words):
        parse_selector({"matchExpressions": [expression]})


def test_spelled_as_kubectl_would_take_it() -> None:
    raw = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "b", "operator": "NotIn", "values": ["x"]},
            {"key": "c", "operator": "In", "values": ["2", "1"]},
            {"key": "d", "operator": "Exists"},
            {"key": "e", "operator": "DoesNotExist"},
        ],
    }
    assert str(parse_selector(raw)) == "app=web,b!=x,c in (1,2),d,!e"
