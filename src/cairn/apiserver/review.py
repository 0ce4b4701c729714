"""Reviews: what a client may ask about itself.

    User, body  ->  SelfSubjectReview, SelfSubjectAccessReview, SelfSubjectRulesReview

Whoever has a certificate or token of this cluster may do everything: RBAC objects are stored for
real clusters' sake, and not enforced here.

Standards   KEP-3325 (`kubectl auth whoami`), authorization.k8s.io/v1
"""

from typing import Any

from cairn.apiserver.kind import Json, Kind
from cairn.apiserver.request import User

_CREATE = frozenset({"create"})


def _review(group: str, name: str) -> Kind:
    lower = name.lower()
    return Kind(
        group, "v1", name, f"{lower}s", lower, namespaced=False, verbs=_CREATE, has_generation=False
    )


REVIEWS = (
    _review("authentication.k8s.io", "SelfSubjectReview"),
    _review("authorization.k8s.io", "SelfSubjectAccessReview"),
    _review("authorization.k8s.io", "SelfSubjectRulesReview"),
)


def answer(kind: Kind, user: User, body: Any) -> Json:
    """Return the review with its answer."""
    asked = body if isinstance(body, dict) else {}
    head = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {}}
    match kind.kind:
        case "SelfSubjectReview":
            about = {"username": user.name, "groups": list(user.groups)}
            return head | {"status": {"userInfo": about | ({"uid": user.uid} if user.uid else {})}}
        case "SelfSubjectAccessReview":
            reason = "every known user of this cluster may do everything"
            status: Json = {"allowed": True, "reason": reason}
            return head | {"spec": asked.get("spec") or {}, "status": status}
    rules = {
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        "incomplete": False,
    }
    return head | {"spec": asked.get("spec") or {}, "status": rules}
