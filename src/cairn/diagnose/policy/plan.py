"""Which connections change their verdict between two Worlds.

before, after  ->  Plan(what is cut off, changes between workloads)

Workloads stand for their pods; outside the cluster, one address stands for each network that a
policy names. Only ends whose policies differ are asked about, so the cost is in proportion to the
change.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain

from cairn.diagnose.policy.end import End, Kind
from cairn.diagnose.policy.ends import entity, named_end, outside, pod_end
from cairn.diagnose.policy.essentials import DNS_PORTS, dns_ends
from cairn.diagnose.policy.joint import Joint, judge
from cairn.diagnose.policy.miss import Place
from cairn.diagnose.policy.pod import Pod
from cairn.diagnose.policy.world import World
from cairn.kube.policy.rule import (
    CidrPeer,
    FqdnPeer,
    GroupPeer,
    Policy,
    PolicyRef,
    PortMatch,
)
from cairn.net import Address, Network, Protocol, parse_address

API_SERVER = "API server"
WEB = (Place(Protocol.TCP, 80), Place(Protocol.TCP, 443))
API = (Place(Protocol.TCP, 443), Place(Protocol.TCP, 6443))
_ANYWHERE = {4: parse_address("198.51.100.1"), 6: parse_address("2001:db8::1")}
"""Addresses for documentation stand for the rest of the world."""


@dataclass(frozen=True, slots=True)
class Change:
    """Connections of one kind whose verdict changes."""

    sender: str
    """Who opens them."""
    receiver: str
    """Who is reached."""
    at: str
    """Protocols and ports."""
    before: str
    """Verdict now."""
    after: str
    """Verdict then."""
    rule: str
    """Which rule makes the difference."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change of policies does."""

    cut_off: tuple[Change, ...]
    """What nearly everybody needs, and some lose: cluster DNS, API server, the kubelet's probes."""
    changes: tuple[Change, ...]
    """All other connections whose verdict changes."""
    invalid: Mapping[str, str]
    """Policies that would not be enforced, and why."""


@dataclass(frozen=True, slots=True)
class Member:
    """One end in both Worlds."""

    name: str
    """How its kind is called."""
    before: End
    """It in the World as it is."""
    after: End
    """It in the World as it would be."""
    places: tuple[Place, ...]
    """Where it is reached."""


def plan(before: World, after: World) -> Plan:
    """Return what changes from one World to the other."""
    differing = changed_policies(before, after)
    members = list(_workloads(before, after, differing))
    affected = [m for m in members if _differs(before, after, m)]
    cut = list(chain.from_iterable(_cut_off(before, after, m) for m in affected))
    others = [*members, *_outsiders(before, after, differing)]
    touched = {id(member) for member in affected}
    pairs = [
        (one, other)
        for one in others
        for other in others
        if (id(one) in touched or id(other) in touched)
        and one is not other
        and not one.after.dns_name
    ]
    lost = {(c.sender, c.receiver, c.at) for c in cut}
    changes = chain.from_iterable(_compare(before, after, *pair) for pair in pairs)
    invalid = {
        str(ref): f"{error.path}: {error.reason}"
        for ref, error in after.invalid.items()
        if ref not in before.invalid
    }
    return Plan(
        merged(cut),
        merged(c for c in changes if (c.sender, c.receiver, c.at) not in lost),
        invalid,
    )


def changed_policies(before: World, after: World) -> list[Policy]:
    """Return the policies of either World that the other has not, or has otherwise."""
    refs: dict[PolicyRef, None] = dict.fromkeys([*before.policies, *after.policies])
    found: list[Policy] = []
    for ref in refs:
        old, new = before.policies.get(ref), after.policies.get(ref)
        if old != new:
            found += [policy for policy in (old, new) if policy is not None]
    return found


def _differs(before: World, after: World, member: Member) -> bool:
    old, new = before.policy_of(member.before), after.policy_of(member.after)
    return (old.ingress, old.egress) != (new.ingress, new.egress)


def _workloads(before: World, after: World, differing: list[Policy]) -> Iterator[Member]:
    mentioned = _mentioned(differing)
    seen: set[tuple[str, int, int]] = set()
    for key, pod in after.pods.items():
        if pod.workload.host_network:
            continue
        new = pod_end(after, pod)
        old = pod_end(before, before.pods[key]) if key in before.pods else _entered(before, pod)
        mark = pod.group, old.identity, new.identity
        if mark not in seen:
            seen.add(mark)
            yield Member(pod.group, old, new, _places(after, pod, mentioned))


def _entered(world: World, pod: Pod) -> End:
    """Return the end that a pod of another World would be in this one."""
    labels = {"kubernetes.io/metadata.name": pod.key.namespace}
    if pod.key.namespace not in world.namespaces:
        world.engine.put_namespace(pod.key.namespace, labels)
    world.engine.put_pod(pod.workload)
    return pod_end(world, pod)


def _places(world: World, pod: Pod, mentioned: tuple[Place, ...]) -> tuple[Place, ...]:
    """Return where a pod is reached: declared ports, those of Services, else what rules name."""
    found = {Place(protocol, port): None for protocol, port in pod.ports}
    for parts in world.slices.values():
        for part in parts:
            if any(address in part.addresses for address in pod.workload.addresses):
                found |= {Place(int(p.protocol), p.port): None for p in part.ports}
    return tuple(found) or mentioned or WEB[:1]


def _mentioned(policies: Iterable[Policy]) -> tuple[Place, ...]:
    found = {
        Place(int(match.protocol or Protocol.TCP), match.first or 1): None
        for policy in policies
        for rule in policy.rules
        for match in rule.matches
        if isinstance(match, PortMatch) and not match.name and not rule.implied
    }
    return tuple(found)


def _outsiders(before: World, after: World, differing: list[Policy]) -> Iterator[Member]:
    """Yield who stands for what is no pod: the world, networks and names of rules, nodes."""
    places = tuple(dict.fromkeys((*WEB, *_mentioned(differing))))
    for word in ("host", "remote-node"):
        end = entity(word)
        yield Member(word, end, end, places)
    server = entity("kube-apiserver")
    yield Member(API_SERVER, server, server, API)
    for version, address in _ANYWHERE.items():
        name = "world" if version == 4 else "world (IPv6)"
        yield Member(name, outside(before, address), outside(after, address), places)
    networks: dict[Network, None] = {}
    names: dict[str, None] = {}
    for policy in differing:
        for rule in policy.rules:
            for peer in rule.peers:
                if isinstance(peer, FqdnPeer):
                    names[peer.name or peer.pattern] = None
                networks |= dict.fromkeys(_networks(peer, after))
    for network in networks:
        if network.prefixlen and (found := _within(network, tuple(networks))):
            yield Member(str(network), outside(before, found), outside(after, found), places)
    for name in names:
        one = name.replace("**", "any").replace("*", "any")
        yield Member(name, named_end(before, one), named_end(after, one), places)


def _networks(peer: object, world: World) -> tuple[Network, ...]:
    match peer:
        case CidrPeer():
            return (peer.network, *peer.excepts)
        case GroupPeer():
            return (*world.networks_of(peer), *peer.excepts)
        case _:
            return ()


def _within(network: Network, others: tuple[Network, ...]) -> Address | None:
    """Return an address of a network that lies in no smaller one that is named."""
    smaller = [
        n for n in others if n.version == network.version and n.prefixlen > network.prefixlen
    ]
    first = int(network.network_address)
    candidates = [first, *(int(n.broadcast_address) + 1 for n in smaller)]
    for number in candidates:
        if number > int(network.broadcast_address):
            continue
        address = type(network.network_address)(number)
        if address in network and not any(address in n for n in smaller):
            return address
    return None


def _cut_off(before: World, after: World, member: Member) -> Iterator[Change]:
    servers = zip(dns_ends(before), dns_ends(after), strict=False)
    dns = tuple(Place(protocol, port) for protocol, port in DNS_PORTS)
    asked = [Member("cluster DNS", old, new, dns) for old, new in servers]
    api = entity("kube-apiserver")
    asked.append(Member(API_SERVER, api, api, API))
    for other in asked:
        for change in _compare(before, after, member, other):
            if change.after == "denied":
                yield change
    host = Member("kubelet's probes", entity("host"), entity("host"), ())
    for change in _compare(before, after, host, member):
        if change.after == "denied":
            yield change


def _compare(before: World, after: World, sender: Member, receiver: Member) -> Iterator[Change]:
    if not sender.after.judged and not receiver.after.judged:
        return
    if sender.after.kind is Kind.NODE and receiver.after.kind is not Kind.POD:
        return
    for place in receiver.places:
        old = judge(before, sender.before, receiver.before, place)
        new = judge(after, sender.after, receiver.after, place)
        if old.word != new.word:
            yield _change(sender.name, receiver.name, str(place), old, new)


def _change(sender: str, receiver: str, at: str, old: Joint, new: Joint) -> Change:
    return Change(sender, receiver, at, old.word, new.word, new.rule_after(old))


def merged(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Return the changes with those that differ in the port alone made one."""
    found: dict[tuple[str, str, str, str, str], list[str]] = {}
    for c in changes:
        places = found.setdefault((c.sender, c.receiver, c.before, c.after, c.rule), [])
        if c.at not in places:
            places.append(c.at)
    return tuple(
        Change(sender, receiver, ", ".join(_short(places)), before, after, rule)
        for (sender, receiver, before, after, rule), places in found.items()
    )


def _short(places: list[str]) -> list[str]:
    shown = [place.removeprefix("port ") for place in places]
    return shown if len(shown) <= 6 else [*shown[:6], f"{len(shown) - 6} more"]


def digest(changes: tuple[Change, ...], most: int) -> tuple[Change, ...]:
    """Return the changes, with those that differ in one end alone made one if there are many."""
    if len(changes) <= most:
        return changes
    by_sender: dict[Change, list[str]] = {}
    for change in changes:
        by_sender.setdefault(replace(change, sender=""), []).append(change.sender)
    fewer = [replace(one, sender=_named(names)) for one, names in by_sender.items()]
    by_receiver: dict[Change, list[str]] = {}
    for change in fewer:
        by_receiver.setdefault(replace(change, receiver=""), []).append(change.receiver)
    return tuple(replace(one, receiver=_named(names)) for one, names in by_receiver.items())


def _named(names: list[str]) -> str:
    shown = ", ".join(names[:2])
    return shown if len(names) <= 2 else f"{shown} and {len(names) - 2} more"
