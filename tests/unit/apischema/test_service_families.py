"""Families and cluster addresses of Services: Kubernetes' rules of dual stack as tables."""

import copy
from typing import Any

import pytest

from cairn.apiserver.builtin_service_defaults import complete_service
from cairn.apiserver.builtin_service_rules import service_errors
from cairn.apiserver.kind import CompletionError, FieldError

DUAL = ("IPv4", "IPv6")
SIX_FIRST = ("IPv6", "IPv4")
FOUR = ("IPv4",)
SIX = ("IPv6",)

Spec = dict[str, Any]


def service(spec: Spec) -> dict[str, Any]:
    base = {"ports": [{"port": 80}], "selector": {"a": "b"}}
    return {"metadata": {"name": "s"}, "spec": {**base, **copy.deepcopy(spec)}}


@pytest.fixture
def complete(allocator: Any) -> Any:
    """Return a function that completes and checks a Service as the server does."""

    def done(
        cluster: tuple[str, ...], obj: dict[str, Any], old: dict[str, Any] | None = None
    ) -> list[FieldError]:
        try:
            complete_service(obj, allocator(old, cluster))
        except CompletionError as error:
            return error.errors
        return service_errors(obj, old)

    return done


def summary(spec: Spec) -> tuple[str, list[str], list[str]]:
    families = [
        "IPv6" if ":" in ip else ip if ip == "None" else "IPv4" for ip in spec["clusterIPs"]
    ]
    assert spec["clusterIP"] == spec["clusterIPs"][0]
    return spec["ipFamilyPolicy"], spec["ipFamilies"], families


CREATED: list[tuple[tuple[str, ...], Spec, tuple[str, list[str], list[str]]]] = [
    # cluster, spec, (policy, families, families of the addresses)
    (DUAL, {}, ("SingleStack", ["IPv4"], ["IPv4"])),
    (SIX_FIRST, {}, ("SingleStack", ["IPv6"], ["IPv6"])),
    (SIX, {}, ("SingleStack", ["IPv6"], ["IPv6"])),
    (DUAL, {"ipFamilies": ["IPv6"]}, ("SingleStack", ["IPv6"], ["IPv6"])),
    (DUAL, {"clusterIP": "fd00::9"}, ("SingleStack", ["IPv6"], ["IPv6"])),
    (
        DUAL,
        {"ipFamilyPolicy": "PreferDualStack"},
        ("PreferDualStack", ["IPv4", "IPv6"], ["IPv4", "IPv6"]),
    ),
    (FOUR, {"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", ["IPv4"], ["IPv4"])),
    (
        DUAL,
        {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]},
        ("RequireDualStack", ["IPv6", "IPv4"], ["IPv6", "IPv4"]),
    ),
    (
        DUAL,
        {"ipFamilyPolicy": "PreferDualStack", "clusterIP": "fd00::9"},
        ("PreferDualStack", ["IPv6", "IPv4"], ["IPv6", "IPv4"]),
    ),
    (
        DUAL,
        {
            "ipFamilyPolicy": "RequireDualStack",
            "clusterIP": "10.96.0.9",
            "clusterIPs": ["10.96.0.9", "fd00::9"],
        },
        ("RequireDualStack", ["IPv4", "IPv6"], ["IPv4", "IPv6"]),
    ),
    # headless, with a selector: like any other
    (DUAL, {"clusterIP": "None"}, ("SingleStack", ["IPv4"], ["None"])),
    (
        DUAL,
        {"clusterIP": "None", "ipFamilyPolicy": "RequireDualStack"},
        ("RequireDualStack", ["IPv4", "IPv6"], ["None"]),
    ),
    (
        FOUR,
        {"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"},
        ("PreferDualStack", ["IPv4"], ["None"]),
    ),
    # headless, endpoints by hand: both families, even where the cluster has one
    (
        FOUR,
        {"clusterIP": "None", "selector": {}},
        ("RequireDualStack", ["IPv4", "IPv6"], ["None"]),
    ),
    (
        FOUR,
        {"clusterIP": "None", "selector": {}, "ipFamilyPolicy": "SingleStack"},
        ("SingleStack", ["IPv4"], ["None"]),
    ),
]


@pytest.mark.parametrize(("cluster", "spec", "expected"), CREATED)
def test_created(complete: Any, cluster: tuple[str, ...], spec: Spec, expected: Any) -> None:
    obj = service(spec)
    assert complete(cluster, obj) == []
    assert summary(obj["spec"]) == expected


REFUSED: list[tuple[tuple[str, ...], Spec, str]] = [
    (
        FOUR,
        {"ipFamilyPolicy": "RequireDualStack"},
        'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": '
        "this cluster is not configured for dual-stack services",
    ),
    (
        FOUR,
        {"ipFamilies": ["IPv6"]},
        'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
    ),
    (
        FOUR,
        {"clusterIP": "fd00::9"},
        'spec.clusterIPs[0]: Invalid value: []string{"fd00::9"}: '
        "IPv6 is not configured on this cluster",
    ),
    (
        DUAL,
        {"ipFamilies": ["IPv4", "IPv6"]},
        "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or "
        "'PreferDualStack' when multiple IP families are specified",
    ),
    (
        DUAL,
        {"clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9", "fd00::9"]},
        "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or "
        "'PreferDualStack' when multiple cluster IPs are specified",
    ),
    (
        DUAL,
        {"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6", "IPv6"]},
        'spec.ipFamilies[1]: Duplicate value: "IPv6"',
    ),
    (
        DUAL,
        {"clusterIPs": ["10.96.0.9"]},
        'spec.clusterIPs: Invalid value: []string{"10.96.0.9"}: '
        "must be empty when `clusterIP` is not specified",
    ),
    (
        DUAL,
        {"clusterIP": "10.96.0.8", "clusterIPs": ["10.96.0.9"]},
        'spec.clusterIPs: Invalid value: []string{"10.96.0.9"}: first value must match `clusterIP`',
    ),
    (
        DUAL,
        {"clusterIP": "None", "clusterIPs": ["None", "10.96.0.9"]},
        'spec.clusterIPs: Invalid value: []string{"None", "10.96.0.9"}: '
        "'None' must be the first and only value",
    ),
    (
        DUAL,
        {"clusterIP": "10.96.0.300"},
        'spec.clusterIPs[0]: Invalid value: "10.96.0.300": '
        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
    ),
    (
        DUAL,
        {
            "ipFamilyPolicy": "RequireDualStack",
            "clusterIP": "10.96.0.9",
            "clusterIPs": ["10.96.0.9", "10.96.0.10"],
        },
        'spec.clusterIPs: Invalid value: []string{"10.96.0.9", "10.96.0.10"}: '
        "may specify no more than one IP for each IP family",
    ),
    (
        DUAL,
        {"ipFamilies": ["IPv6"], "clusterIP": "10.96.0.9"},
        'spec.clusterIPs[0]: Invalid value: "10.96.0.9": '
        "expected an IPv6 value as indicated by `ipFamilies[0]`",
    ),
]


@pytest.mark.parametrize(("cluster", "spec", "text"), REFUSED)
def test_refused(complete: Any, cluster: tuple[str, ...], spec: Spec, text: str) -> None:
    assert [str(error) for error in complete(cluster, service(spec))] == [text]


SINGLE: Spec = {}
BOTH: Spec = {"ipFamilyPolicy": "RequireDualStack"}
KEEP = "as it was"
CHANGED: list[tuple[Spec, Spec, Any]] = [
    # before, what a PUT or PATCH changes, (policy, families) afterwards
    (SINGLE, {}, ("SingleStack", ["IPv4"])),
    (SINGLE, {"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", ["IPv4", "IPv6"])),
    (SINGLE, {"ipFamilyPolicy": "RequireDualStack"}, ("RequireDualStack", ["IPv4", "IPv6"])),
    (
        SINGLE,
        {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]},
        ("RequireDualStack", ["IPv4", "IPv6"]),
    ),
    (
        {"ipFamilies": ["IPv6"]},
        {"ipFamilyPolicy": "PreferDualStack"},
        ("PreferDualStack", ["IPv6", "IPv4"]),
    ),
    (BOTH, {}, ("RequireDualStack", ["IPv4", "IPv6"])),
    (BOTH, {"ipFamilyPolicy": "PreferDualStack"}, ("PreferDualStack", ["IPv4", "IPv6"])),
    (BOTH, {"ipFamilyPolicy": "SingleStack"}, ("SingleStack", ["IPv4"])),
    (
        BOTH,
        {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]},
        ("SingleStack", ["IPv4"]),
    ),
    # a client that knows none of these fields leaves them out
    (BOTH, {"ipFamilyPolicy": None, "ipFamilies": None, "clusterIPs": None}, KEEP),
    (BOTH, {"clusterIP": "", "clusterIPs": None}, KEEP),
    (SINGLE, {"ipFamilyPolicy": None, "clusterIP": None}, KEEP),
]


@pytest.mark.parametrize(("before", "change", "expected"), CHANGED)
def test_changed(complete: Any, before: Spec, change: Spec, expected: Any) -> None:
    old = service(before)
    assert complete(DUAL, old) == []
    new = copy.deepcopy(old)
    new["spec"] = {k: v for k, v in {**new["spec"], **change}.items() if v is not None}
    assert complete(DUAL, new, old) == []
    found = summary(new["spec"])
    if expected == KEEP:
        assert found == summary(old["spec"])
    else:
        assert found[:2] == expected
        assert found[2] == found[1]
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]


BROKEN: list[tuple[Spec, Spec, str]] = [
    (SINGLE, {"ipFamilies": ["IPv6"]}, "spec.clusterIPs[0]"),
    (SINGLE, {"ipFamilies": ["IPv6"], "clusterIP": "fd00::9", "clusterIPs": ["fd00::9"]}, "first"),
    (BOTH, {"ipFamilies": ["IPv4"]}, "must be 'SingleStack' to release the secondary IP family"),
    (BOTH, {"clusterIPs": "first"}, "must be 'SingleStack' to release the secondary cluster IP"),
    (SINGLE, {"clusterIP": "None", "clusterIPs": ["None"]}, "may not change once set"),
    ({"clusterIP": "None"}, {"clusterIP": "10.96.0.9"}, "may not change once set"),
]


@pytest.mark.parametrize(("before", "change", "text"), BROKEN)
def test_what_was_given_cannot_be_taken_back(
    complete: Any, before: Spec, change: Spec, text: str
) -> None:
    old = service(before)
    assert complete(DUAL, old) == []
    if change.get("clusterIPs") == "first":
        change = {"clusterIPs": old["spec"]["clusterIPs"][:1]}
    new = copy.deepcopy(old)
    new["spec"] |= change
    errors = [str(error) for error in complete(DUAL, new, old)]
    wanted = "may not change once set" if text == "first" else text
    assert errors
    assert any(wanted in error for error in errors)


def test_a_cluster_that_becomes_dual_stack_leaves_preferring_services_alone(complete: Any) -> None:
    old = service({"ipFamilyPolicy": "PreferDualStack"})
    assert complete(FOUR, old) == []
    new = copy.deepcopy(old)
    new["spec"]["selector"] = {"other": "label"}
    assert complete(DUAL, new, old) == []
    assert new["spec"]["clusterIPs"] == old["spec"]["clusterIPs"]


def test_from_external_name_and_back(complete: Any) -> None:
    old = {"metadata": {"name": "s"}, "spec": {"type": "ExternalName", "externalName": "a.b"}}
    assert complete(DUAL, old) == []
    new = service({"type": "ClusterIP", "ipFamilyPolicy": "RequireDualStack"})
    assert complete(DUAL, new, old) == []
    assert summary(new["spec"])[2] == ["IPv4", "IPv6"]
    again = copy.deepcopy(new)
    again["spec"] |= {"type": "ExternalName", "externalName": "a.b"}
    assert complete(DUAL, again, new) == []
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"} & set(again["spec"])
