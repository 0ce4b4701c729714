"""What objects ask for and this version does not do: the one table of it.

    object  ->  one Gap per kind or field that is stored but not honoured

Everyone who tells a user reads it here: the API server's `Warning:` headers, the operator's
conditions and Events, `cairn status`. What works is taken out of the table; there is no second
place that knows.

Invariants  Pure; never raises: a field of the wrong type has no gap, the schema tells of it.
            A sentence says what stands there, what happens instead, and what to do.
Not here    Fields that are honoured otherwise than written (kube.pool, kube.peering_policy,
            kube.policy), and what the lab's kubelet leaves out of a pod.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from cairn.kube.metadata import Object, metadata_of
from cairn.kube.unsupported_fields import (
    annotations_of_service,
    entries_of_deny_list,
    fields_of_peering,
    fields_of_pod,
    fields_of_service,
    rate_of_service,
    retry_of_peering,
)


class Weight(IntEnum):
    """How much a gap matters to whoever wrote the object."""

    UNSAFE = 3
    """A promise of protection is not kept."""
    IGNORED = 2
    """Something that was asked for does not happen."""
    ASIDE = 1
    """It shows and does not work, and nobody is worse off: told in the overview alone."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that an object asks for in vain."""

    reason: str
    """CamelCase word for Events."""
    message: str
    """What stands there, what happens instead, what to do."""
    weight: Weight
    """How much it matters."""
    whole: bool = False
    """Whether the object as a whole does nothing, and not just one field of it."""


_NO_ENVOY = (
    "EnvoyNotRun",
    "is stored, but this version runs no Envoy: connections go to the Service's pods as if this "
    "object were not there",
    Weight.IGNORED,
)

# Kinds of which no object does anything: reason, sentence, weight.
WHOLE: Mapping[str, tuple[str, str, Weight]] = {
    "CiliumEnvoyConfig": _NO_ENVOY,
    "CiliumClusterwideEnvoyConfig": _NO_ENVOY,
    "CiliumClusterMesh": (
        "MeshNotJoined",
        "is stored, but this version joins no clusters: Services of the clusters it names are not "
        "reachable through it; announce them over BGP from their own cluster",
        Weight.IGNORED,
    ),
    "CiliumBGPClusterConfig": (
        "ClusterConfigNotRead",
        "is stored, but no node peers by it in this version: write a CiliumBGPPeeringPolicy",
        Weight.IGNORED,
    ),
    "CiliumBGPPeerConfig": (
        "PeerConfigNotRead",
        "is stored, but no session uses it in this version: write its settings at the neighbor of "
        "a CiliumBGPPeeringPolicy",
        Weight.IGNORED,
    ),
    "CiliumBGPNodeConfigOverride": (
        "OverrideNotRead",
        "is stored, but no node reads it in this version: write a CiliumBGPPeeringPolicy that "
        "selects this node alone",
        Weight.IGNORED,
    ),
    "CiliumBGPAdvertisement": (
        "AdvertisementNotRead",
        "is stored, but announces nothing in this version: Services are announced as the "
        "serviceSelector of a CiliumBGPPeeringPolicy says",
        Weight.IGNORED,
    ),
}

Find = Callable[[Object], Iterator[tuple[str, str]]]

# Fields that do nothing, or less than they say: weight and finder of (reason, sentence).
FIELDS: Mapping[str, tuple[tuple[Weight, Find], ...]] = {
    "Service": (
        (Weight.UNSAFE, rate_of_service),
        (Weight.IGNORED, fields_of_service),
        (Weight.IGNORED, annotations_of_service),
    ),
    "Pod": ((Weight.IGNORED, fields_of_pod),),
    "CiliumCIDRGroup": ((Weight.IGNORED, entries_of_deny_list),),
    "CiliumBGPPeeringPolicy": (
        (Weight.IGNORED, fields_of_peering),
        (Weight.ASIDE, retry_of_peering),
    ),
}

SETTINGS = ("kube-system", "cilium-config")
"""The ConfigMap by which Cilium is configured; Cairn has no setting there."""


def unsupported(obj: Object) -> tuple[Gap, ...]:
    """Return what an object asks for and does not get, the heaviest first."""
    kind = str(obj.get("kind"))
    if kind in WHOLE:
        return _whole(kind, obj)
    if kind == "ConfigMap":
        return _settings(obj)
    found = [
        Gap(reason, message, weight)
        for weight, find in FIELDS.get(kind, ())
        for reason, message in _tried(find, obj)
    ]
    return tuple(dict.fromkeys(found))


def _whole(kind: str, obj: Object) -> tuple[Gap, ...]:
    reason, message, weight = WHOLE[kind]
    if kind == "CiliumBGPAdvertisement" and _is_owned(obj):
        return ()  # what the operator shows of a policy, not what a user wants
    return (Gap(reason, message, weight, whole=True),)


def _is_owned(obj: Object) -> bool:
    references = (obj.get("metadata") or {}).get("ownerReferences") or ()
    return any(r.get("kind") == "CiliumBGPPeeringPolicy" for r in references)


def _settings(obj: Object) -> tuple[Gap, ...]:
    data = obj.get("data")
    if metadata_of(obj).key != SETTINGS or not isinstance(data, Mapping) or not data:
        return ()
    message = (
        f"Cairn takes no setting from this ConfigMap: {', '.join(sorted(map(str, data)))} "
        f"{'change' if len(data) > 1 else 'changes'} nothing; this version has no Envoy, Ingress "
        "or Gateway API to turn on"
    )
    return (Gap("SettingsNotRead", message, Weight.IGNORED, whole=True),)


def _tried(find: Find, obj: Object) -> list[tuple[str, Any]]:
    try:
        return list(find(obj))
    except (AttributeError, KeyError, TypeError, ValueError):
        return []  # a field of the wrong type: the schema tells of it
