"""The syntax of names, labels and annotations, as the API demands it.

    Kind, object  ->  list[FieldError] about its metadata

Standards   RFC 1123 s2.1 (labels of host names), RFC 1035 s2.3.1; Kubernetes "Object names and IDs"
"""

import re
from collections.abc import Mapping
from typing import Any

from cairn.apiserver.kind import FieldError, Kind, Reason

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)\Z")
_LABEL_KINDS = frozenset({"Namespace"})
_LABEL_1035_KINDS = frozenset({"Service"})
_RBAC = "rbac.authorization.k8s.io"
ANNOTATIONS_LIMIT_BYTES = 256 * 1024


def is_label(text: str) -> bool:
    """Return whether the text is a DNS label of at most 63 characters."""
    return len(text) <= 63 and bool(_LABEL.match(text))


def is_subdomain(text: str) -> bool:
    """Return whether the text is a DNS name of at most 253 characters."""
    return len(text) <= 253 and bool(_SUBDOMAIN.match(text))


def name_fault(kind: Kind, name: str) -> str:
    """Return what is wrong with an object's name; "" if nothing is."""
    if kind.group == _RBAC:
        bad = name in (".", "..") or "/" in name or "%" in name
        return "may not be '.' or '..', nor contain '/' or '%'" if bad else ""
    if kind.group == "" and kind.kind in _LABEL_KINDS:
        return "" if is_label(name) else _rule("a lowercase RFC 1123 label", "63", "'-'")
    if kind.group == "" and kind.kind in _LABEL_1035_KINDS:
        good = len(name) <= 63 and _LABEL_1035.match(name)
        return "" if good else _rule("a DNS-1035 label that starts with a letter", "63", "'-'")
    return "" if is_subdomain(name) else _rule("a lowercase RFC 1123 subdomain", "253", "'-', '.'")


def _rule(what: str, limit: str, marks: str) -> str:
    ends = "begin and end with a letter or digit"
    return (
        f"must be {what}: lower case letters, digits, {marks}; {ends}; at most {limit} characters"
    )


def key_fault(key: str) -> str:
    """Return what is wrong with a label's or annotation's key; "" if nothing is."""
    prefix, slash, name = key.rpartition("/")
    if slash and not is_subdomain(prefix):
        return "prefix part " + _rule("a lowercase RFC 1123 subdomain", "253", "'-', '.'")
    if len(name) > 63 or not _QUALIFIED.match(name):
        return (
            "name part must consist of letters, digits, '-', '_' or '.', begin and end with a "
            "letter or digit, and have 1 to 63 characters"
        )
    return ""


def value_fault(value: str) -> str:
    """Return what is wrong with a label's value; "" if nothing is."""
    if not value or (len(value) <= 63 and _QUALIFIED.match(value)):
        return ""
    return (
        "a valid label must be empty or consist of letters, digits, '-', '_' or '.', begin and "
        "end with a letter or digit, and have at most 63 characters"
    )


def label_errors(labels: Any, path: str) -> list[FieldError]:
    """Return what is wrong with a mapping of labels."""
    errors = []
    for key, value in (labels if isinstance(labels, Mapping) else {}).items():
        for text, fault in ((key, key_fault(key)), (value, value_fault(str(value)))):
            if fault:
                errors.append(FieldError(path, Reason.INVALID, f'Invalid value: "{text}": {fault}'))
    return errors


def metadata_errors(kind: Kind, obj: Mapping[str, Any]) -> list[FieldError]:
    """Return what is wrong with the object's metadata."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping):
        metadata = {}
    errors = _name_errors(kind, metadata) + label_errors(metadata.get("labels"), "metadata.labels")
    annotations = metadata.get("annotations")
    annotations = annotations if isinstance(annotations, Mapping) else {}
    where = "metadata.annotations"
    for key in annotations:
        # Keys of annotations are compared in lower case, unlike those of labels.
        if fault := key_fault(key.lower()):
            errors.append(FieldError(where, Reason.INVALID, f'Invalid value: "{key}": {fault}'))
    if sum(len(k) + len(str(v)) for k, v in annotations.items()) > ANNOTATIONS_LIMIT_BYTES:
        text = f"Too long: may not be more than {ANNOTATIONS_LIMIT_BYTES} bytes"
        errors.append(FieldError(where, Reason.TOO_LONG, text))
    return errors


def _name_errors(kind: Kind, metadata: Mapping[str, Any]) -> list[FieldError]:
    name, prefix = metadata.get("name"), metadata.get("generateName")
    if not name and not prefix:
        text = "Required value: name or generateName is required"
        return [FieldError("metadata.name", Reason.REQUIRED, text)]
    if isinstance(name, str) and name and (fault := name_fault(kind, name)):
        text = f'Invalid value: "{name}": {fault}'
        return [FieldError("metadata.name", Reason.INVALID, text)]
    if not name and isinstance(prefix, str) and (fault := name_fault(kind, prefix + "x")):
        text = f'Invalid value: "{prefix}": {fault}'
        return [FieldError("metadata.generateName", Reason.INVALID, text)]
    return []
