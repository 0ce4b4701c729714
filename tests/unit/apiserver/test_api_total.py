"""Whatever JSON a client sends, the answer is an object or a Status, never a fault of ours."""

from typing import Any

import pytest
from apiserver_bed import Core
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cairn.apiserver.builtin import BUILTIN

NAMES = ("name", "namespace", "labels", "ports", "port", "type", "selector", "matchLabels",
         "template", "metadata", "spec", "containers", "clusterIP", "clusterIPs", "replicas",
         "names", "versions", "kind", "group", "finalizers", "ownerReferences", "uid", "items",
         "subsets", "addresses", "endpoints", "rules", "conditions", "resources", "limits",
         "image", "protocol", "nodePort", "targetPort", "data", "ipFamilies")  # fmt: skip
SCALARS = (
    st.none() | st.booleans() | st.integers(-5, 70000) | st.sampled_from(("", "a", "10.96.0.9"))
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("index", range(len(BUILTIN)), ids=[kind.kind for kind in BUILTIN])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(fields=st.dictionaries(st.sampled_from(("spec", "status", "data", *NAMES)), VALUES))
def test_any_object(index: int, fields: dict[str, Any]) -> None:
    core, kind = Core(), BUILTIN[index]
    space = "/namespaces/default" if kind.namespaced else ""
    path = f"{kind.path}{space}/{kind.plural}"
    obj = {"metadata": {"name": "x"}} | fields | {"apiVersion": kind.api_version, "kind": kind.kind}
    made = core.send("POST", path, obj)
    assert made.code in (201, 400, 403, 404, 409, 422), made.value
    applied = core.send(
        "PATCH", f"{path}/x?fieldManager=f", obj, content_type="application/apply-patch+yaml"
    )
    assert applied.code in (200, 201, 400, 403, 404, 409, 422), applied.value
    for accept in ("", "application/json;as=Table;v=v1;g=meta.k8s.io"):
        assert core.send("GET", path, accept=accept).code == 200


@pytest.mark.parametrize("kind", ["merge-patch", "strategic-merge-patch", "json-patch"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(patch=VALUES)
def test_any_patch(kind: str, patch: Any) -> None:
    core = Core()
    services = "/api/v1/namespaces/default/services"
    core.create(services, {"metadata": {"name": "x"}, "spec": {"ports": [{"port": 80}]}})
    for body in (patch, {"spec": patch}, {"metadata": patch}, {"spec": {"ports": patch}}):
        answer = core.send("PATCH", f"{services}/x", body, content_type=f"application/{kind}+json")
        assert answer.code in (200, 400, 409, 415, 422), answer.value
