"""Delete: at once, gracefully, or when the last finalizer is gone.

    Target, DeleteOptions, Transaction  ->  Written

Invariants  An object with finalizers is only marked; whoever removes the last one removes it.
            A pod on a node stays until its kubelet deletes it with a grace period of 0 s.
            A grace period may be shortened, never lengthened.
Standards   Kubernetes "Garbage Collection" (propagation policies), "Pod Lifecycle" (termination)
Not here    Deleting dependents (collect).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from cairn.apiserver.entry import Entry
from cairn.apiserver.environment import Environment, timestamp
from cairn.apiserver.kind import Json
from cairn.apiserver.status import bad_request, conflict, forbidden, not_found
from cairn.apiserver.store import Transaction
from cairn.apiserver.write import Target, Written, is_finished

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
DEFAULT_GRACE_S = 30
IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
"""Namespaces that a cluster cannot be without."""


class Propagation(StrEnum):
    """What becomes of the dependents."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete."""

    grace_s: int | None = None
    """Seconds a pod may take to end; None: as the pod says."""
    propagation: Propagation = Propagation.BACKGROUND
    """What becomes of the dependents."""
    uid: str | None = None
    """Delete only the object with this uid."""
    revision: str | None = None
    """Delete only this state of the object."""


def read_options(body: Any, query: Mapping[str, str]) -> DeleteOptions:
    """Return the options of a request: its body's, or the query's; raises Refused (400)."""
    body = body if isinstance(body, dict) else {}
    preconditions = body.get("preconditions") or {}
    grace = body.get("gracePeriodSeconds", query.get("gracePeriodSeconds"))
    policy = body.get("propagationPolicy") or query.get("propagationPolicy")
    orphan = body.get("orphanDependents", query.get("orphanDependents"))
    if policy is None and orphan in (True, "true"):
        policy = Propagation.ORPHAN
    if policy is not None and policy not in tuple(Propagation):
        raise bad_request(f"propagationPolicy {policy!r}: expected {', '.join(Propagation)}")
    try:
        grace_s = None if grace is None else int(grace)
    except (TypeError, ValueError) as error:
        raise bad_request(f"gracePeriodSeconds {grace!r}: expected a number of seconds") from error
    if grace_s is not None and grace_s < 0:
        raise bad_request(f"gracePeriodSeconds {grace_s}: must not be negative")
    return DeleteOptions(
        grace_s=grace_s,
        propagation=Propagation(policy or Propagation.BACKGROUND),
        uid=preconditions.get("uid"),
        revision=preconditions.get("resourceVersion"),
    )


def delete(
    txn: Transaction, environment: Environment, target: Target, options: DeleteOptions
) -> Written:
    """Delete one object; raises Refused."""
    entry = txn.get(target.resource, target.key)
    if entry is None:
        raise not_found(target.kind, target.key.name)
    _check(target, entry, options)
    if target.resource == "namespaces" and entry.key.name in IMMORTAL:
        raise forbidden(target.kind, entry.key.name, "this namespace may not be deleted")
    obj = entry.decode()
    metadata = obj["metadata"]
    grace_s = _grace_s(target, obj, options)
    _hold_for_dependents(txn, entry, metadata, options.propagation)
    if not entry.deleting:
        metadata["deletionTimestamp"] = timestamp(environment.now() + timedelta(seconds=grace_s))
        metadata["deletionGracePeriodSeconds"] = grace_s
        if target.kind.has_generation:
            metadata["generation"] = (metadata.get("generation") or 0) + 1
        if target.resource == "namespaces":
            obj["status"] = (obj.get("status") or {}) | {"phase": "Terminating"}
    elif grace_s < (metadata.get("deletionGracePeriodSeconds") or 0):
        metadata["deletionTimestamp"] = timestamp(environment.now() + timedelta(seconds=grace_s))
        metadata["deletionGracePeriodSeconds"] = grace_s
    if is_finished(obj):
        return Written(txn.remove(target.resource, obj), removed=True)
    if obj == entry.decode():
        return Written(entry)
    return Written(txn.put(target.resource, obj))


def _check(target: Target, entry: Entry, options: DeleteOptions) -> None:
    if options.uid and options.uid != entry.uid:
        why = "Precondition failed: UID in precondition: {}, UID in object meta: {}"
        raise conflict(target.kind, entry.key.name, why.format(options.uid, entry.uid))
    if options.revision and options.revision != str(entry.revision):
        why = "Precondition failed: ResourceVersion in precondition: {}, in object meta: {}"
        raise conflict(target.kind, entry.key.name, why.format(options.revision, entry.revision))


def _grace_s(target: Target, obj: Json, options: DeleteOptions) -> int:
    """Return how long the object may take to end: only a pod that may run has any time."""
    if target.resource != "pods":
        return 0
    spec, phase = obj.get("spec") or {}, (obj.get("status") or {}).get("phase")
    if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if options.grace_s is not None:
        return options.grace_s
    grace: int | None = spec.get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE_S if grace is None else grace


def _hold_for_dependents(
    txn: Transaction, entry: Entry, metadata: Json, propagation: Propagation
) -> None:
    """Add the finalizer that makes the object wait for its dependents, if it has any."""
    finalizers = [f for f in entry.finalizers if f not in (FOREGROUND, ORPHAN)]
    if propagation is Propagation.BACKGROUND:
        return
    if txn.store.dependents(entry.uid):
        mark = FOREGROUND if propagation is Propagation.FOREGROUND else ORPHAN
        finalizers.append(mark)
    metadata["finalizers"] = finalizers
    if not finalizers:
        del metadata["finalizers"]
