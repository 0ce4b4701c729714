"""Selections: text selectors against labels and fields."""

from dataclasses import dataclass, field

import pytest

from cairn.apiserver.selection import fields_of, parse_selection
from cairn.apiserver.status import Refused
from cairn.kube.metadata import Key


@dataclass
class Thing:
    key: Key = field(default_factory=lambda: Key("default", "web"))
    labels: dict[str, str] = field(default_factory=lambda: {"app": "web", "tier": "front"})
    fields: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app=db", False),
        ("app!=db", True),
        ("other!=db", True),
        ("app!=web", False),
        ("app", True),
        ("other", False),
        ("!other", True),
        ("!app", False),
        ("app in (web, db)", True),
        ("app in (db)", False),
        ("app notin (db)", True),
        ("other notin (db)", True),
        ("app notin (web)", False),
        ("app=web,tier in (front,back),!x", True),
        ("app=web,tier=back", False),
        (" app = web , tier ", True),
        ("app=", False),
    ],
)
def test_labels(text: str, expected: bool) -> None:
    assert parse_selection("pods", "", text, "").matches(Thing()) is expected


@pytest.mark.parametrize("text", ["app=web,,x", "=x", "app in web", "app in (a", "a b", "!"])
def test_broken_label_selectors_are_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_selection("pods", "", text, "")
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("spec.nodeName=node-1", True),
        ("spec.nodeName=node-2", False),
        ("spec.nodeName!=node-2", True),
        ("status.phase!=Running", False),
        ("metadata.name=web", True),
        ("metadata.name!=web", False),
        ("metadata.namespace=default,spec.nodeName==node-1", True),
        ("metadata.namespace=other", False),
    ],
)
def test_fields(text: str, expected: bool) -> None:
    pod = {"spec": {"nodeName": "node-1"}, "status": {"phase": "Running"}}
    thing = Thing(fields=fields_of("pods", pod))
    assert parse_selection("pods", "", "", text).matches(thing) is expected


def test_an_unknown_field_is_named_with_those_that_are_known() -> None:
    with pytest.raises(Refused, match=r"spec\.colour.*spec\.nodeName"):
        parse_selection("pods", "", "", "spec.colour=red")


def test_a_namespace_limits() -> None:
    assert not parse_selection("pods", "other", "", "").matches(Thing())
