"""What keeps a rule from matching a connection, in words.

    Policy, Rule, the two Ends, port  ->  Misses, none if it matches

Invariants  No Miss: the rule matches as compile.policy has it (a test compares them).
            A Miss is a clause that follows "if", and what to write so that it holds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol as Seam

from cairn.diagnose.policy.end import End, Kind
from cairn.diagnose.policy.stable import stable_labels
from cairn.kube.policy.rule import (
    NAMESPACE,
    RESERVED,
    CidrPeer,
    Direction,
    EntityPeer,
    FqdnPeer,
    GroupPeer,
    IcmpMatch,
    LabelPeer,
    Match,
    NodePeer,
    Peer,
    PolicyRef,
    ProtocolMatch,
    Rule,
    ServicePeer,
)
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.net import Address, Network, Protocol, parse_network

ICMP, ICMPV6 = 1, 58
WHOLE = {4: parse_network("0.0.0.0/0"), 6: parse_network("::/0")}
"""Every address of a family: what holds even an address that is not known yet."""
_WITH_PORTS = frozenset(Protocol)


class Surroundings(Seam):
    """What peers refer to by name."""

    def networks_of(self, peer: GroupPeer) -> tuple[Network, ...]:
        """Return the networks of the groups that are meant."""
        ...

    def backends_of(self, peer: ServicePeer) -> frozenset[Address]:
        """Return the addresses behind the Services that are meant."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """A protocol, and a port if it has ports."""

    protocol: int
    """IANA protocol number."""
    port: int
    """Port; for ICMP the type times 256, plus the code; 0 without ports."""

    def __str__(self) -> str:
        if self.protocol in (ICMP, ICMPV6):
            name = "ICMP" if self.protocol == ICMP else "ICMPv6"
            return f"{name} type {self.port >> 8}"
        if self.protocol not in _WITH_PORTS:
            return f"protocol {self.protocol}"
        return f"port {self.port}/{Protocol(self.protocol).name}"


@dataclass(frozen=True, slots=True)
class Miss:
    """One condition that does not hold."""

    weight: int
    """How far it is from holding: the lower is the likelier mistake."""
    clause: str
    """What would have to be so, after "if"."""
    mend: str
    """What to write."""


def same_name(peer: FqdnPeer, name: str) -> bool:
    """Return whether a DNS name is meant; `*` stands for any characters but the dot."""
    if peer.name:
        return peer.name == name
    if peer.pattern == "*":
        return True
    return _glob(peer.pattern, name)


def _glob(pattern: str, name: str) -> bool:
    """Return whether `name` fits; label by label, as no `*` spans a dot, and only `**.` does."""
    wanted, found = pattern.split("."), name.split(".")
    if wanted[0] == "**":
        wanted, found = wanted[1:], found[max(1, len(found) - len(wanted) + 1) :]
    return len(wanted) == len(found) and all(map(_glob_label, wanted, found))


def _glob_label(pattern: str, text: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return first == text
    *middle, last = rest
    if not text.startswith(first) or len(text) < len(first) + len(last):
        return False
    if not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for part in middle:
        at = text.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def port_misses(rule: Rule, place: Place, ports_of: End, ref: PolicyRef) -> tuple[Miss, ...]:
    """Return why the rule is not about the port; `ports_of` has the named ports."""
    if not rule.matches or any(_at(match, place, ports_of) for match in rule.matches):
        return ()
    wanted = " or ".join(dict.fromkeys(spell_match(match) for match in rule.matches[:4]))
    if len(rule.matches) > 4:
        wanted += f" or {len(rule.matches) - 4} more"
    field = "ports" if ref.kind == "NetworkPolicy" else "toPorts"
    where = rule.path.split(".")[0]
    mend = f"connect to {wanted}, or add {place} to {where}.{field}"
    return (Miss(2, f"it were at {wanted} and not {place}", mend),)


def _at(match: Match, place: Place, ports_of: End) -> bool:
    match match:
        case ProtocolMatch():
            return match.number == place.protocol
        case IcmpMatch():
            number = ICMP if match.family == 4 else ICMPV6
            return number == place.protocol and match.type == place.port >> 8
    if place.protocol not in _WITH_PORTS:
        return False
    if match.protocol is not None and match.protocol != place.protocol:
        return False
    if match.name:
        return ports_of.ports.get(match.name) == (place.protocol, place.port)
    return match.first <= place.port <= match.last


def spell_match(match: Match) -> str:
    """Return a match as people write it."""
    match match:
        case ProtocolMatch():
            return f"protocol {match.number}"
        case IcmpMatch():
            return f"{'ICMP' if match.family == 4 else 'ICMPv6'} type {match.type}"
    protocol = match.protocol.name if match.protocol is not None else "ANY"
    if match.name:
        return f"port {match.name}/{protocol}"
    if (match.first, match.last) == (0, 65535):
        return f"any port/{protocol}"
    ports = str(match.first) if match.first == match.last else f"{match.first}-{match.last}"
    return f"port {ports}/{protocol}"


def selector_misses(
    selector: Selector, end: End, what: str, namespace: str = ""
) -> tuple[Miss, ...]:
    """Return which requirements the labels of an end do not meet.

    `what`: where to write, for the mend; `namespace`: of the policy.
    """
    return tuple(
        _requirement(requirement, end, what, namespace)
        for requirement in selector.requirements
        if not requirement.matches(end.labels)
    )


def _requirement(requirement: Requirement, end: End, what: str, namespace: str) -> Miss:
    if requirement.key == NAMESPACE and requirement.operator is Operator.IN:
        wanted = " or ".join(sorted(requirement.values))
        mend = f"add {_as_item(end, what)} to {what}"
        return Miss(1, f"{end.text} were in namespace {wanted}", mend)
    spelt = str(Selector((requirement,)))
    key = requirement.key
    has = f"{key}={end.labels[key]}" if key in end.labels else f"no label {key}"
    match requirement.operator:
        case Operator.IN if len(requirement.values) == 1:
            clause = f"{end.text} had the label {spelt} (it has {has})"
        case Operator.IN | Operator.EXISTS:
            clause = f"{end.text} had a label {spelt} (it has {has})"
        case Operator.NOT_IN | Operator.DOES_NOT_EXIST:
            clause = f"{end.text} did not have the label {has}"
    return Miss(1, clause, f"label it so, or add {_as_item(end, what)} to {what}")


def peer_misses(
    peer: Peer, end: End, what: str, around: Surroundings, requires: Iterable[Selector] = ()
) -> tuple[Miss, ...]:
    """Return why the other end is not among those that a peer means."""
    match peer:
        case LabelPeer():
            return tuple(_labels(peer, end, what, requires))
        case EntityPeer():
            if is_in_entity(end, peer.entity):
                return ()
            if end.kind is Kind.GROUP:
                nobody = "nothing in this cluster has that identity"
                return (Miss(4, f"there were anything that is {end.text}", nobody),)
            return (_other_kind(end, f"one of the entity {peer.entity}", what),)
        case CidrPeer():
            return _cidr(end, (peer.network,), peer.excepts, what, inside=peer.inside)
        case GroupPeer():
            return _cidr(end, around.networks_of(peer), peer.excepts, what, inside=False)
        case NodePeer():
            if end.kind is not Kind.NODE:
                return (_other_kind(end, "a node", what),)
            return selector_misses(peer.selector, end, what)
        case FqdnPeer():
            if end.dns_name and same_name(peer, end.dns_name):
                return ()
            wanted = peer.name or peer.pattern
            far = 2 if end.dns_name else 4
            return (Miss(far, f"it went to the name {wanted}", f"name {end.text} in {what}"),)
        case ServicePeer():
            if end.address is not None and end.address in around.backends_of(peer):
                return ()
            named = f"{peer.namespace}/{peer.name}" if peer.name else f"with {peer.selector}"
            return (_other_kind(end, f"a backend of the Service {named}", what),)


def _labels(peer: LabelPeer, end: End, what: str, requires: Iterable[Selector]) -> Iterator[Miss]:
    reserved = any(r.key.startswith(RESERVED) for r in peer.selector.requirements)
    if not reserved and end.kind is not Kind.POD:
        yield _other_kind(end, f"a pod with {spell_selector(peer.selector)}", what)
        return
    yield from selector_misses(peer.selector, end, what)
    for selector in requires:
        yield from selector_misses(selector, end, "the policy with the Requires")


def _cidr(
    end: End,
    networks: tuple[Network, ...],
    excepts: tuple[Network, ...],
    what: str,
    *,
    inside: bool,
) -> tuple[Miss, ...]:
    spelt = ", ".join(map(str, networks[:3])) or "no network"
    if end.kind is Kind.POD and not inside:
        mend = f"select it by its labels; {what} means addresses outside the cluster"
        return (Miss(3, f"{end.text} were outside the cluster, in {spelt}", mend),)
    if end.kind is Kind.NODE and not inside:
        mend = "name the entity host or remote-node"
        return (Miss(3, f"{end.text} were outside the cluster, in {spelt}", mend),)
    address = end.address
    if address is None:
        version = 6 if f"{RESERVED}world-ipv6" in end.labels else 4
        if end.kind is Kind.WORLD and any(n == WHOLE[version] for n in networks):
            return ()
        return (Miss(3, f"{end.text} were in {spelt}", f"name it in {what}"),)
    for network in excepts:
        if address.version == network.version and address in network:
            return (Miss(2, f"{address} were not in the except {network}", f"narrow it in {what}"),)
    if any(address.version == n.version and address in n for n in networks):
        return ()
    return (Miss(3, f"{address} were in {spelt}", f"add {address} to {what}"),)


def _other_kind(end: End, wanted: str, what: str) -> Miss:
    field = what.rpartition(".")[2]
    return Miss(4, f"{end.text} were {wanted}", f"add a rule with {field}: [{_as_item(end, what)}]")


def _as_item(end: End, what: str) -> str:
    """Return how an end is named as an item of a list of peers."""
    if what.endswith((".from", ".to")):
        return _as_plain_item(end)
    if end.dns_name:
        return f"{{matchName: {end.dns_name}}}"
    if end.kind is Kind.POD:
        labels = {NAMESPACE: end.namespace, **stable_labels(end.own_labels)}
        return f"{{matchLabels: {{{_spelt(labels)}}}}}"
    if end.kind is Kind.WORLD and end.address is not None:
        return f"{end.address}/{end.address.max_prefixlen}"
    words = [key.removeprefix(RESERVED) for key in end.labels if key.startswith(RESERVED)]
    return words[0] if words else end.text


def _as_plain_item(end: End) -> str:
    """Return the same for a NetworkPolicy or a ClusterNetworkPolicy."""
    if end.kind is Kind.POD:
        pods = _spelt(stable_labels(end.own_labels))
        namespace = _spelt({"kubernetes.io/metadata.name": end.namespace})
        return (
            f"{{namespaceSelector: {{matchLabels: {{{namespace}}}}}, "
            f"podSelector: {{matchLabels: {{{pods}}}}}}}"
        )
    if end.address is None:
        return "{ipBlock: {cidr: its network}}"
    return f"{{ipBlock: {{cidr: {end.address}/{end.address.max_prefixlen}}}}}"


def _spelt(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in labels.items())


def spell_selector(selector: Selector) -> str:
    """Return a selector of pods as people say it: the namespace at the end."""
    own = Selector(tuple(r for r in selector.requirements if r.key != NAMESPACE))
    where = sorted(v for r in selector.requirements if r.key == NAMESPACE for v in r.values)
    said = str(own) if own.requirements else "any labels"
    return said + (f" in namespace {' or '.join(where)}" if where else "")


def is_in_entity(end: End, entity: str) -> bool:
    """Return whether an end belongs to a well-known group; what nobody is belongs to none."""
    if end.kind is Kind.GROUP:
        return entity == "all"
    match entity:
        case "all":
            return True
        case "none":
            return False
        case "cluster":
            return f"{RESERVED}world" not in end.labels
        case _:
            return f"{RESERVED}{entity}" in end.labels


def named_in(ref: PolicyRef, direction: Direction, path: str, end: End) -> str:
    """Return the field of a rule where an end would be named."""
    rule = path.split(".")[0]
    way = "from" if direction is Direction.INGRESS else "to"
    if not ref.kind.startswith("Cilium"):
        return f"{rule}.{way}"
    if end.dns_name:
        return f"{rule}.{way}FQDNs"
    match end.kind:
        case Kind.POD:
            return f"{rule}.{way}Endpoints"
        case Kind.WORLD if end.address is not None:
            return f"{rule}.{way}CIDR"
        case _:
            return f"{rule}.{way}Entities"
