"""CiliumNetworkPolicy and its clusterwide form, with the dialect in which people write them.

    cilium.io/v2 object  ->  policies, or InvalidPolicy

Invariants  Specs about the same subject make one policy; others get names of their own.
            podSelector and policyTypes mean what they mean in NetworkPolicy.
            Names without a rule for the DNS get one for just these names.
Standards   cilium.io/v2 CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, Rule
"""

from collections.abc import Iterator
from dataclasses import dataclass

from cairn.kube.finding import Finding
from cairn.kube.metadata import Metadata, Object, metadata_of
from cairn.kube.policy.cilium_section import SECTIONS, Section, read_section
from cairn.kube.policy.cilium_selector import node_selector, reserved_of, subject_selector
from cairn.kube.policy.field import Fields, choice, fields, flag, items, text
from cairn.kube.policy.implied import implied_dns
from cairn.kube.policy.mode import HOST_GUARD, Mode, mode_of
from cairn.kube.policy.rule import Direction, InvalidPolicy, Policy, PolicyRef
from cairn.kube.selector import Selector

NAMESPACED = "CiliumNetworkPolicy"
CLUSTERWIDE = "CiliumClusterwideNetworkPolicy"

_SPEC = frozenset(
    {
        "endpointSelector",
        "podSelector",
        "nodeSelector",
        "policyTypes",
        "enableDefaultDeny",
        "description",
        "labels",
        "log",
        *(section.name for section in SECTIONS),
    }
)
_SUBJECTS = ("endpointSelector", "podSelector", "nodeSelector")


@dataclass(frozen=True, slots=True)
class Spec:
    """One spec, read."""

    place: str
    """Before the paths of its rules: "" for `spec`, `specs[2].` for one of a list."""
    subject: Selector | None
    """Pods it is about."""
    nodes: Selector | None
    """Nodes it is about."""
    isolates: frozenset[Direction]
    """Directions that are closed but for what is allowed."""
    section: Section
    """What its rules say."""
    findings: tuple[Finding, ...]
    """What its author should know."""


def read_cilium(obj: Object) -> tuple[Policy, ...]:
    """Return the policies of one object: one for each subject; raises InvalidPolicy."""
    metadata = metadata_of(obj)
    clusterwide = obj.get("kind") == CLUSTERWIDE
    namespace = "" if clusterwide else metadata.namespace or "default"
    ref = PolicyRef(CLUSTERWIDE if clusterwide else NAMESPACED, namespace, metadata.name)
    by_subject: dict[tuple[Selector | None, Selector | None], list[Spec]] = {}
    for spec in _specs(obj, namespace):
        by_subject.setdefault((spec.subject, spec.nodes), []).append(spec)
    return tuple(
        _policy(ref._replace(name=_name(ref.name, place, specs)), metadata, specs)
        for place, specs in enumerate(by_subject.values())
    )


def _name(name: str, place: int, specs: list[Spec]) -> str:
    """Return the name of one subject's policy: no object can have one with brackets."""
    return name + specs[0].place.removeprefix("specs").removesuffix(".") if place else name


def _policy(ref: PolicyRef, metadata: Metadata, specs: list[Spec]) -> Policy:
    mode = mode_of(metadata)
    isolates = frozenset[Direction]().union(*(spec.isolates for spec in specs))
    rules = tuple(rule for spec in specs for rule in spec.section.rules)
    # Where egress is open, so is the DNS: a rule for some names would close it to others.
    names = implied_dns(rules) if Direction.EGRESS in isolates else ()
    return Policy(
        ref=ref,
        uid=metadata.uid,
        subject=specs[0].subject,
        nodes=specs[0].nodes,
        isolates=isolates,
        rules=(*rules, *names),
        requires=tuple(pair for spec in specs for pair in spec.section.requires),
        audit=mode.audit,
        disabled=mode.disabled,
        guarded=mode.guarded,
        findings=(
            *mode.findings,
            *(finding for spec in specs for finding in spec.findings),
            *_dns_finding(len(names)),
            *_guard_finding(mode, specs),
        ),
    )


def _dns_finding(implied: int) -> Iterator[Finding]:
    if implied:
        yield Finding(
            "DnsImplied",
            "toFQDNs stands without a rule for the DNS: queries for just these names are let "
            "through to the cluster DNS; write a rule to kube-dns with toPorts 53 and rules.dns",
        )


def _guard_finding(mode: Mode, specs: list[Spec]) -> Iterator[Finding]:
    if not mode.guarded and specs[0].nodes is None:
        text = f"annotation {HOST_GUARD} is ignored: it is for policies with nodeSelector"
        yield Finding("AnnotationIgnored", text)


def _specs(obj: Object, namespace: str) -> Iterator[Spec]:
    if obj.get("spec") is None and not obj.get("specs"):
        raise InvalidPolicy("spec", "is missing: write endpointSelector and rules there")
    if obj.get("spec") is not None:
        yield _spec(obj["spec"], "spec", "", namespace)
    for place, raw in enumerate(items(obj.get("specs"), "specs")):
        yield _spec(raw, f"specs[{place}]", f"specs[{place}].", namespace)


def _spec(raw: object, path: str, place: str, namespace: str) -> Spec:
    found = fields(raw, path, _SPEC)
    subject, nodes = _subject(found, path, namespace)
    section = read_section(found, path, place, namespace, nodes=nodes is not None)
    isolates = _isolates(found, path)
    if not isolates and not section.rules and "enableDefaultDeny" not in found:
        raise InvalidPolicy(
            path, "has no rule and closes nothing: write ingress: [{}] to close a direction"
        )
    return Spec(
        place,
        subject,
        nodes,
        isolates,
        section,
        (*_advice(found, path, subject), *section.findings),
    )


def _subject(found: Fields, path: str, namespace: str) -> tuple[Selector | None, Selector | None]:
    given = [name for name in _SUBJECTS if name in found]
    if len(given) != 1:
        words = " and ".join(given) if given else "no selector"
        rule = "one of endpointSelector and nodeSelector says what a policy is about"
        raise InvalidPolicy(path, f"has {words}: {rule}")
    where = f"{path}.{given[0]}"
    if given[0] != "nodeSelector":
        return subject_selector(found[given[0]], where, namespace), None
    if namespace:
        raise InvalidPolicy(
            where, "nodes have no namespace: write a CiliumClusterwideNetworkPolicy"
        )
    return None, node_selector(found["nodeSelector"], where)


def _isolates(found: Fields, path: str) -> frozenset[Direction]:
    where = f"{path}.policyTypes"
    closed = {
        Direction(choice(word, f"{where}[{place}]", ("Ingress", "Egress")).lower())
        for place, word in enumerate(items(found.get("policyTypes"), where))
    }
    closed |= {
        section.direction
        for section in SECTIONS
        if items(found.get(section.name), f"{path}.{section.name}")
    }
    where = f"{path}.enableDefaultDeny"
    said = fields(found.get("enableDefaultDeny", {}), where, frozenset({"ingress", "egress"}))
    for word, raw in said.items():
        direction = Direction(word)
        closed = closed | {direction} if flag(raw, f"{where}.{word}") else closed - {direction}
    return frozenset(closed)


def _advice(found: Fields, path: str, subject: Selector | None) -> Iterator[Finding]:
    if "podSelector" in found:
        said = f"{path}.podSelector is NetworkPolicy's word, read as endpointSelector; write that"
        yield Finding("PodSelectorAlias", said)
    if words := found.get("policyTypes"):
        said = (
            f"{path}.policyTypes is NetworkPolicy's word: {', '.join(words)} is closed but for "
            "what is allowed, with or without rules; write enableDefaultDeny"
        )
        yield Finding("PolicyTypesAlias", said)
    for section in SECTIONS:
        if section.name in found and not found[section.name]:
            said = f"{path}.{section.name} is empty and closes nothing; write [{{}}] to close it"
            yield Finding("EmptySection", said)
    if subject is not None and (groups := reserved_of(subject)):
        said = f"{path} is about reserved:{groups[0]}, which no pod is: it selects nothing"
        yield Finding("SelectsNothing", said)
    if "log" in found:
        log = fields(found["log"], f"{path}.log", frozenset({"value"}))
        if log.get("value"):
            text(log["value"], f"{path}.log.value")
            said = f"{path}.log.value is not written into flows: they name the policy and the rule"
            yield Finding("LogIgnored", said)
