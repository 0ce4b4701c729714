"""How a policy is applied, by its annotations: enforced, recorded only, or not at all.

    metadata  ->  Mode(audit, disabled, guarded, findings)

Invariants  A value that is not understood leaves the policy in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cairn.kube.finding import Finding
from cairn.kube.metadata import Metadata

AUDIT = "policy.cilium.io/audit-mode"
"""Annotation: `true` records the policy's verdicts in place of enforcing them."""
DISABLED = "policy.cilium.io/disabled"
"""Annotation: `true` takes the policy out of force while it stands."""
HOST_GUARD = "cairn.io/host-guard"
"""Annotation: `off` lets a policy of nodes close the API server, BGP and the administrator out."""


_DISABLED = (
    Finding(
        "PolicyDisabled",
        f"the policy is not enforced while its annotation {DISABLED}=true stands; remove that to "
        "enforce it",
    ),
)
_AUDITED = (
    Finding(
        "PolicyAudited",
        f"the policy's verdicts are recorded and not enforced while its annotation {AUDIT}=true "
        "stands; remove that to enforce it",
    ),
)


MODE_FINDINGS = frozenset({*_DISABLED, *_AUDITED})
"""The findings that tell of the mode itself."""


@dataclass(frozen=True, slots=True)
class Mode:
    """What the annotations of a policy say."""

    audit: bool
    """Whether its verdicts are only recorded."""
    disabled: bool
    """Whether it is out of force."""
    guarded: bool
    """Whether a node stays reachable whatever it says."""
    findings: tuple[Finding, ...]
    """What is out of force, and values that mean nothing."""


def mode_of(metadata: Metadata) -> Mode:
    """Return how the policy is applied."""
    marks = metadata.annotations
    wrong = (
        *_strange(marks, AUDIT, ("true", "false")),
        *_strange(marks, DISABLED, ("true", "false")),
        *_strange(marks, HOST_GUARD, ("off", "on")),
    )
    disabled, audit = marks.get(DISABLED) == "true", marks.get(AUDIT) == "true"
    state = _DISABLED if disabled else _AUDITED if audit else ()
    return Mode(
        audit=audit,
        disabled=disabled,
        guarded=marks.get(HOST_GUARD) != "off",
        findings=(*state, *wrong),
    )


def _strange(marks: Mapping[str, str], key: str, words: tuple[str, str]) -> tuple[Finding, ...]:
    value = marks.get(key)
    if value is None or value in words:
        return ()
    text = f"annotation {key}: {value!r} is ignored; write {words[0]!r} or {words[1]!r}"
    return (Finding("UnknownAnnotationValue", text),)
