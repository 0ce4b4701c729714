"""Which objects a list or watch is about: namespace, label selector and field selector.

    "app=web,tier in (a,b),!x", "spec.nodeName=node-1"  ->  Selection  ->  matches(entry)

Invariants  Labels and selectable fields are kept beside the encoded object, so that a selection
            never decodes one.
Standards   Kubernetes label selectors (text form), field selectors
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any, Protocol

from cairn.apiserver.status import bad_request
from cairn.kube.metadata import Key
from cairn.kube.selector import Operator, Requirement, Selector

SELECTABLE: Mapping[str, tuple[str, ...]] = {
    "pods": (
        "spec.nodeName",
        "status.phase",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.podIP",
    ),
    "events": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "nodes": ("spec.unschedulable",),
    "namespaces": ("status.phase",),
    "secrets": ("type",),
    "services": ("spec.clusterIP", "spec.type"),
    "replicasets.apps": ("status.replicas",),
}
"""Fields that a selector may name, besides metadata.name and metadata.namespace."""

_WHERE = {"source": "source.component"}
_TERM = re.compile(
    r"\s*(?:(?P<not>!)\s*(?P<absent>[^\s,!=()]+)"
    r"|(?P<key>[^\s,!=()]+)"
    r"(?:\s*(?P<relation>==|=|!=)\s*(?P<value>[^\s,!=()]*)"
    r"|\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\))?)\s*(?:,|$)"
)


class Selectable(Protocol):
    """What a selection looks at."""

    @property
    def key(self) -> Key:
        """Namespace and name."""

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the object."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Values of its resource's selectable fields, in their order."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Conditions that must all hold."""

    namespace: str = ""
    """Empty: every namespace."""
    name: str | None = None
    """From `metadata.name=`; None: every name."""
    labels: Selector | None = None
    """None: any labels."""
    fields: tuple[tuple[int, str, bool], ...] = ()
    """(place in the selectable fields, value, whether it must be equal)."""
    other_names: frozenset[str] = frozenset()
    """From `metadata.name!=`."""

    def matches(self, entry: Selectable) -> bool:
        """Return whether the object is selected."""
        if self.namespace and entry.key.namespace != self.namespace:
            return False
        if self.name is not None and entry.key.name != self.name:
            return False
        if entry.key.name in self.other_names:
            return False
        if any((entry.fields[at] == value) is not equal for at, value, equal in self.fields):
            return False
        return self.labels is None or self.labels.matches(entry.labels)


def parse_selection(resource: str, namespace: str, labels: str, fields: str) -> Selection:
    """Return the selection that a request spells; raises Refused (400)."""
    name: str | None = None
    others: set[str] = set()
    terms: list[tuple[int, str, bool]] = []
    known = SELECTABLE.get(resource, ())
    for path, value, equal in _field_terms(fields):
        if path == "metadata.name":
            if not equal or name not in (None, value):
                others.add(value)
            else:
                name = value
        elif path == "metadata.namespace" and equal and namespace in ("", value):
            namespace = value
        elif path in known:
            terms.append((known.index(path), value, equal))
        else:
            more = ", ".join(("metadata.name", "metadata.namespace", *known))
            raise bad_request(f"field label not supported: {path} (known here: {more})")
    selector = parse_labels(labels) if labels.strip() else None
    return Selection(namespace, name, selector, tuple(terms), frozenset(others))


def parse_labels(text: str) -> Selector:
    """Return the selector of the text form; raises Refused (400)."""
    found: list[Requirement] = []
    at = 0
    while at < len(text):
        term = _TERM.match(text, at)
        if term is None:
            raise bad_request(f"unable to parse requirement: found {text[at:]!r} in {text!r}")
        found.append(_requirement(term))
        at = term.end()
    return Selector(tuple(found))


def _requirement(term: re.Match[str]) -> Requirement:
    if term["not"]:
        return Requirement(term["absent"], Operator.DOES_NOT_EXIST)
    if term["relation"]:
        operator = Operator.NOT_IN if term["relation"] == "!=" else Operator.IN
        return Requirement(term["key"], operator, frozenset({term["value"]}))
    if term["word"]:
        operator = Operator.IN if term["word"] == "in" else Operator.NOT_IN
        values = frozenset(value.strip() for value in term["values"].split(","))
        return Requirement(term["key"], operator, values)
    return Requirement(term["key"], Operator.EXISTS)


def _field_terms(text: str) -> list[tuple[str, str, bool]]:
    terms = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        path, sign, value = part.partition("=")
        if not sign:
            raise bad_request(f"invalid field selector {part!r}: expected path=value")
        equal = not path.endswith("!")
        terms.append((path.removesuffix("!").strip(), value.removeprefix("=").strip(), equal))
    return terms


def fields_of(resource: str, obj: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the values of the resource's selectable fields; absent ones are ""."""
    return tuple(_text(obj, _WHERE.get(path, path)) for path in SELECTABLE.get(resource, ()))


def _text(obj: Mapping[str, Any], path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "false" if path == "spec.unschedulable" else ""
    return intern(str(value))
