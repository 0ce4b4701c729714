"""What the answer to a write warns of: what is not honoured, and what is read otherwise.

    object  ->  texts of `Warning:` headers

Not here    The facts: cairn.kube.unsupported (what Cairn does not do), dialect (what it reads
            otherwise than written), policy_rules (what it says of network policies).
"""

from collections.abc import Mapping
from typing import Any

from cairn.apiserver import dialect
from cairn.apiserver.policy_rules import policy_notes
from cairn.kube.policy.read import READERS
from cairn.kube.unsupported import Weight, unsupported

# What this server itself leaves undone; a cluster with Kubernetes' own server does it.
STORED_ALONE: Mapping[str, str] = dict.fromkeys(
    ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"),
    "RBAC objects are stored but not enforced by this API server: whoever has a certificate or a "
    "token of this cluster may do everything; give none to those who should not",
)


def warnings(obj: Mapping[str, Any]) -> list[str]:
    """Return the notes on one object, the heaviest first, each once."""
    kind = str(obj.get("kind"))
    notes = [STORED_ALONE[kind]] if kind in STORED_ALONE else []
    for gap in unsupported(obj):
        if gap.weight is not Weight.ASIDE:
            subject = f"{kind} {_name(obj)} " if gap.message.startswith("is ") else ""
            notes.append(subject + gap.message)
    said = policy_notes(obj) if kind in READERS else dialect.warnings(obj)
    return list(dict.fromkeys(notes + said))


def template_warnings(obj: Mapping[str, Any]) -> list[str]:
    """Return the notes on the pods that a workload makes."""
    template = (obj.get("spec") or {}).get("template")
    if not isinstance(template, Mapping):
        return []
    return warnings({"metadata": {}, **template, "kind": "Pod"})


def _name(obj: Mapping[str, Any]) -> str:
    return str((obj.get("metadata") or {}).get("name") or "")
