"""A policy on trial: until when, and what stood there before.

    annotations cairn.io/try-until, cairn.io/try-previous  <->  Trial

Who tries a policy writes into the object itself how to take it back, so that the way back needs
nobody but the operator.

Invariants  A trial of a policy that is on trial keeps the way back to what stood before the first.
            What is given back is the object as it was: spec, labels, annotations.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from cairn.kube.metadata import Object, metadata_of

UNTIL = "cairn.io/try-until"
"""Annotation: the time (RFC 3339) at which the policy is taken back unless it is confirmed."""
PREVIOUS = "cairn.io/try-previous"
"""Annotation: what stood there before, as JSON; `none`: nothing, and the policy is deleted."""
NONE = "none"
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""Annotation of `kubectl apply`, which is left as it is: it is large, and kubectl's own."""
_PARTS = ("spec", "specs")


class BadTrial(ValueError):
    """Annotations that do not say how to take a policy back."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What the annotations say."""

    until: datetime
    """When it ends."""
    previous: Mapping[str, Any] | None
    """Spec, labels and annotations of what stood there; None: nothing."""


def trial_of(obj: Object) -> Trial | None:
    """Return the trial that an object is on, None if it is on none; raises BadTrial."""
    annotations = metadata_of(obj).annotations
    if UNTIL not in annotations:
        return None
    try:
        until = datetime.fromisoformat(annotations[UNTIL].replace("Z", "+00:00"))
    except ValueError:
        raise BadTrial(
            f"annotation {UNTIL}={annotations[UNTIL]!r} is no time: write it as "
            "2026-01-02T03:04:05Z, or remove it to keep the policy"
        ) from None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    text = annotations.get(PREVIOUS, "")
    if text == NONE:
        return Trial(until, None)
    try:
        previous = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        previous = None
    if not isinstance(previous, dict) or not any(part in previous for part in _PARTS):
        raise BadTrial(
            f"annotation {PREVIOUS} does not hold what stood there before: the policy stays; "
            f"remove {UNTIL} to keep it, or delete the policy"
        )
    return Trial(until, previous)


def on_trial(obj: Object, current: Object | None, until: datetime) -> dict[str, Any]:
    """Return `obj` as it is to be applied, with the way back to `current`; raises BadTrial."""
    running = trial_of(current) if current is not None else None
    previous = running.previous if running else _kept(current)
    text = NONE if previous is None else msgspec.json.encode(previous).decode()
    metadata = dict(obj.get("metadata") or {})
    stamp = until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {**(metadata.get("annotations") or {}), UNTIL: stamp, PREVIOUS: text}
    return {**obj, "metadata": {**metadata, "annotations": annotations}}


def _kept(current: Object | None) -> dict[str, Any] | None:
    if current is None:
        return None
    metadata = current.get("metadata") or {}
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k != APPLIED}
    kept: dict[str, Any] = {part: current[part] for part in _PARTS if part in current}
    if metadata.get("labels"):
        kept["labels"] = metadata["labels"]
    if annotations:
        kept["annotations"] = annotations
    return kept


def taken_back(obj: Object, trial: Trial) -> dict[str, Any] | None:
    """Return the object as it was before the trial; None: it is to be deleted."""
    previous = trial.previous
    if previous is None:
        return None
    metadata = {k: v for k, v in obj["metadata"].items() if k not in ("labels", "annotations")}
    annotations = dict(previous.get("annotations") or {})
    own = obj["metadata"].get("annotations") or {}
    if APPLIED in own:
        annotations[APPLIED] = own[APPLIED]
    given = {"labels": previous.get("labels"), "annotations": annotations}
    metadata |= {name: value for name, value in given.items() if value}
    rest = {k: v for k, v in obj.items() if k not in (*_PARTS, "metadata")}
    return {**rest, "metadata": metadata, **{p: previous[p] for p in _PARTS if p in previous}}


def confirming_patch(obj: Object) -> dict[str, Any]:
    """Return the merge patch that ends a trial and keeps the policy."""
    version = (obj.get("metadata") or {}).get("resourceVersion")
    return {"metadata": {"resourceVersion": version, "annotations": {UNTIL: None, PREVIOUS: None}}}
