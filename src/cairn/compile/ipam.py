"""LB-IPAM: which LoadBalancer Service gets which address of which pool.

    Pools, LoadBalancers  ->  IpamResult(verdict per Service, counts and findings per pool)

First everyone keeps what its status records and a pool still allows, the oldest first; then those
who ask for an address by name are served, then all others, again by age, with the lowest free
address of the oldest pool that selects them. Each family of a Service is served by itself, from the
pools that have blocks of it; a Service that requires both families gets none before it gets both.

An address in a node's subnet is probed before it is first given: until the answer is there, its
Service has no verdict and the address waits for it.

Invariants  The record is the Service's status: a restart or a pool edit moves no address that a
            selecting pool still holds. Equal objects give equal results, in whatever order.
            No address is held twice, but by Services that may share it.
Standards   Cilium LB-IPAM (conditions, annotations)
Not here    Writing it down (operator), reading the objects (kube.pool, kube.load_balancer).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cairn.compile.ipam_pool import PoolState, pool_states
from cairn.compile.ipam_proof import Proof
from cairn.compile.ipam_reason import (
    Reason,
    told_before,
    told_with_address,
    unreadable,
    why_declined,
    why_none_free,
    why_not_requested,
    why_not_that_family,
    why_waiting,
)
from cairn.compile.ipam_space import AddressSpace, Slot, slot_of, spell
from cairn.kube.load_balancer import LoadBalancer
from cairn.kube.metadata import Key
from cairn.kube.pool import Pool
from cairn.net import Address, Network


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event about a Service."""

    warning: bool
    """Whether its type is Warning."""
    reason: str
    """CamelCase word."""
    message: str
    """For people."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one Service's status should say."""

    addresses: tuple[str, ...]
    """Its ingress addresses, IPv4 and IPv6 in the order of its families."""
    reason: Reason | None
    """Content of its IPAMRequestSatisfied condition; None: it should have none."""
    notices: tuple[Notice, ...] = ()
    """Events that this change is worth."""

    @property
    def satisfied(self) -> bool:
        """Whether it has all that it asked for."""
        return self.reason is not None and self.reason.code == "satisfied"


@dataclass(frozen=True, slots=True)
class IpamResult:
    """The whole allocation."""

    services: Mapping[Key, Verdict]
    """Per Service that is, or was, ours to address."""
    pools: Mapping[str, PoolState]
    """Per pool."""
    due: tuple[Slot, ...] = ()
    """Addresses to be probed; the Services that wait for them have no verdict yet."""


@dataclass(slots=True)
class _Case:
    """One Service while it is decided."""

    service: LoadBalancer
    pools: list[Pool]
    slots: dict[Slot, str] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    reason: Reason | None = None
    missing: dict[int, str] = field(default_factory=dict)
    fresh: list[Slot] = field(default_factory=list)
    waits: bool = False

    def lacks(self, version: int) -> bool:
        return all(slot[0] != version for slot in self.slots)


def compile_ipam(
    pools: Iterable[Pool],
    services: Iterable[LoadBalancer],
    *,
    reserved: Mapping[Address, str] | None = None,
    node_networks: Iterable[Network] = (),
    proof: Proof | None = None,
) -> IpamResult:
    """Return who should hold which address.

    `reserved` are addresses of others (nodes, routers) and what they belong to; `node_networks`
    only lead to findings; `proof` is what probes have shown.
    """
    space = AddressSpace(pools, reserved or {}, proof)
    ordered = sorted(services, key=lambda service: service.order)
    cases = [_Case(s, space.selecting(s.selectable)) for s in ordered if s.handled]
    for case in cases:
        _keep(space, case)
    for case in cases:
        if case.service.requested or case.service.unreadable:
            _give_requested(space, case)
    for case in cases:
        _give_any(space, case)
    verdicts = {
        case.service.metadata.key: _verdict(space, case) for case in cases if not case.waits
    }
    for service in ordered:
        if not service.handled and not service.foreign and service.condition is not None:
            verdicts[service.metadata.key] = Verdict((), None, _farewell(service))
    return IpamResult(verdicts, pool_states(space, tuple(node_networks)), tuple(space.due))


def _keep(space: AddressSpace, case: _Case) -> None:
    service = case.service
    for address in service.held:
        slot = slot_of(address)
        why = _why_lost(space, case, address, slot)
        if why:
            text = f"{address} is released: {why}"
            case.notices.append(Notice(True, "AddressReleased", text))
        else:
            pool = next(pool for pool in case.pools if pool.holds(*slot))
            space.claim(slot, service)
            case.slots[slot] = pool.name


def _why_lost(space: AddressSpace, case: _Case, address: Address, slot: Slot) -> str:
    service = case.service
    if slot in case.slots:
        return "it is recorded twice"
    if slot[0] not in service.families:
        return f"the Service does not want IPv{slot[0]}"
    if address not in service.requested:
        if any(other.version == slot[0] for other in service.requested):
            return "the Service asks for another address"
        if not case.lacks(slot[0]):
            return "the Service holds an address of that family already"
    if not any(pool.holds(*slot) for pool in case.pools):
        holds = any(pool.holds(*slot) for pool in space.pools)
        return "its pool no longer selects the Service" if holds else "no pool holds it any more"
    if not space.open_to(slot, service):
        holder = space.holders[slot][0].metadata.key
        return f"the older Service {holder} holds it"
    return ""


def _give_requested(space: AddressSpace, case: _Case) -> None:
    service = case.service
    for address in service.requested:
        slot = slot_of(address)
        if slot in case.slots:
            continue
        pool = next((p for p in case.pools if space.usable(p) and p.holds(*slot)), None)
        taken = slot in space.reserved or space.proof.stranger(slot)
        if slot[0] not in service.families:
            case.reason = case.reason or why_not_that_family(service, address)
        elif pool and not taken and space.open_to(slot, service):
            _take(space, case, slot, pool)
        elif case.reason is None:
            case.reason = why_not_requested(space, service, address)
    if service.unreadable and case.reason is None:
        case.reason = unreadable(service.unreadable)


def _give_any(space: AddressSpace, case: _Case) -> None:
    """Give what is lacking of the families that nothing was asked for by name of."""
    service = case.service
    asked = {address.version for address in service.requested}
    chosen: dict[Slot, Pool] = {}
    lacking: dict[int, Reason] = {}
    for version in service.families:
        if not case.lacks(version) or version in asked or service.unreadable:
            continue
        found = _choose(space, case, version)
        if found:
            chosen[found[0]] = found[1]
        else:
            lacking[version] = why_none_free(space, service, version)
    if service.together and (lacking or case.reason) and not _holds_some(case):
        _wait(space, case, lacking)
        return
    for slot, pool in chosen.items():
        _take(space, case, slot, pool)
    for version, reason in lacking.items():
        if version in service.optional and case.slots:
            case.missing[version] = reason.message
        elif case.reason is None:
            case.reason = reason


def _holds_some(case: _Case) -> bool:
    """Return whether the Service keeps an address: what clients use stays."""
    return any(slot_of(address) in case.slots for address in case.service.held)


def _wait(space: AddressSpace, case: _Case, lacking: dict[int, Reason]) -> None:
    """Give nothing yet: the families come together."""
    for slot in case.slots:
        space.release(slot, case.service)
    case.slots.clear()
    case.fresh.clear()
    case.waits = False
    first = case.reason or next(iter(lacking.values()))
    case.reason = why_waiting(case.service, first)


def _take(space: AddressSpace, case: _Case, slot: Slot, pool: Pool) -> None:
    if space.must_wait(slot):
        case.waits = True
    elif slot not in space.holders:
        case.fresh.append(slot)
    space.claim(slot, case.service)
    case.slots[slot] = pool.name


def _choose(space: AddressSpace, case: _Case, version: int) -> tuple[Slot, Pool] | None:
    usable = [pool for pool in case.pools if space.usable(pool)]
    shared = space.shared(case.service, version)
    if shared:
        home = next((pool for pool in usable if pool.holds(*shared)), None)
        if home:
            return shared, home
    for pool in usable:
        slot = space.lowest_free(pool, version)
        if slot:
            return slot, pool
    return None


def _verdict(space: AddressSpace, case: _Case) -> Verdict:
    service = case.service
    rank = {version: place for place, version in enumerate(service.families)}
    slots = sorted(case.slots, key=lambda slot: (rank.get(slot[0], 9), slot))
    addresses = tuple(spell(slot) for slot in slots)
    given = ", ".join(f"{spell(slot)} from pool {case.slots[slot]}" for slot in slots)
    before = service.condition or {}
    missing = {**case.missing, **{v: why_declined(v) for v in service.declined}}
    told = [given, *(f"no IPv{version} address: {why}" for version, why in missing.items())]
    if case.fresh:
        told += [told_with_address(space, slot, case.slots[slot]) for slot in case.fresh]
    else:
        told.append(told_before(given, str(before.get("message"))))
    reason = case.reason or Reason("satisfied", "; ".join(filter(None, told)))
    notices = list(case.notices)
    if (reason.code, reason.message) != (before.get("reason"), before.get("message")):
        pending = reason.code != "satisfied"
        notices.append(
            Notice(pending, "AddressPending" if pending else "AddressGiven", reason.message)
        )
    return Verdict(addresses, reason, tuple(notices))


def _farewell(service: LoadBalancer) -> tuple[Notice, ...]:
    if not service.held:
        return ()
    held = ", ".join(str(address) for address in service.held)
    return (Notice(False, "AddressReleased", f"{held} is released: not a LoadBalancer any more"),)
