"""Why a Service waits for its address, and what would help.

    LoadBalancer, AddressSpace  ->  Reason(code, sentence)

Invariants  Every sentence names the Service's or the pool's own words, and ends in what to do.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cairn.compile.ipam_space import AddressSpace, Slot, slot_of, spell, total
from cairn.kube.load_balancer import NAME_LABEL, NAMESPACE_LABEL, LoadBalancer
from cairn.kube.pool import Pool
from cairn.kube.selector import Operator, Requirement
from cairn.net import Address

MAX_POOLS_NAMED = 3
MAX_SKIPPED_NAMED = 3
SKIPPED, UNPROVEN = "skipped: ", "not probed: "


@dataclass(frozen=True, slots=True)
class Reason:
    """The state of one request."""

    code: str
    """Reason of the condition: satisfied, no_pool, out_of_ips, …"""
    message: str
    """For people."""


def why_not_requested(space: AddressSpace, service: LoadBalancer, address: Address) -> Reason:
    """Return why an address that was asked for by name cannot be given."""
    slot = slot_of(address)
    if holders := space.holders.get(slot):
        return _held(service, holders[0], slot)
    if owner := space.reserved.get(slot):
        text = f"{address} belongs to {owner}; ask for another address"
        return Reason("already_allocated", text)
    if mac := space.proof.stranger(slot):
        text = f"{_answers(slot, mac)}; free it there, or ask for another address"
        return Reason("already_allocated", text)
    holding = [pool for pool in space.pools if pool.holds(*slot)]
    if not holding:
        names = _names(space.pools) or "none exists"
        text = f"no pool has {address} (pools: {names}); add a block that holds it, or ask within"
        return Reason("no_pool", text)
    labels = service.selectable
    selecting = [pool for pool in holding if pool.selector and pool.selector.matches(labels)]
    if not selecting:
        return Reason("pool_selector_mismatch", _mismatch(service, holding[0]))
    return Reason("no_pool", f"{address}: {_unusable(space, selecting[0])}")


def told_with_address(space: AddressSpace, slot: Slot, pool: str) -> str:
    """Return what is worth telling about an address just given; often nothing."""
    home = next(one for one in space.pools if one.name == pool)
    skipped = space.skipped(home, slot)
    texts = [_answers(other, space.proof.strangers[other]) for other in skipped[:MAX_SKIPPED_NAMED]]
    if len(skipped) > MAX_SKIPPED_NAMED:
        texts.append(f"and {len(skipped) - MAX_SKIPPED_NAMED} more")
    told = [f"{SKIPPED}{', '.join(texts)}"] if texts else []
    if slot in space.proof.unproven:
        told.append(f"{UNPROVEN}{spell(slot)}, as no node of its subnet answered in time")
    return "; ".join(told)


def told_before(given: str, message: str) -> str:
    """Return what was told when these addresses were given: it stands as long as they do."""
    if not message.startswith(f"{given}; "):
        return ""
    parts = message.split("; ")
    return "; ".join(part for part in parts if part.startswith((SKIPPED, UNPROVEN)))


def stranger_text(slot: Slot, mac: str) -> str:
    """Return what a pool's author should know of an address that somebody else has."""
    return f"{_answers(slot, mac)}: it is skipped; free it there, or leave it out of the pool"


def _answers(slot: Slot, mac: str) -> str:
    return f"{spell(slot)} is answered for by {mac}, which is no node of this cluster"


def why_none_free(space: AddressSpace, service: LoadBalancer, version: int) -> Reason:
    """Return why no address of one family could be given."""
    family = f"IPv{version}"
    if not space.pools:
        text = "no CiliumLoadBalancerIPPool exists; create one with a block of free addresses"
        return Reason("no_pool", text)
    selecting = space.selecting(service.selectable)
    if not selecting:
        texts = [_mismatch(service, pool) for pool in space.pools[:MAX_POOLS_NAMED]]
        return Reason("no_pool", "; ".join(texts))
    usable = [pool for pool in selecting if space.usable(pool)]
    if not usable:
        return Reason("no_pool", _unusable(space, selecting[0]))
    familiar = [p for p in usable if any(block.version == version for block in p.blocks)]
    if not familiar:
        text = f"pool {_names(usable)} has no {family} block; add one, or ask for the other family"
        return Reason("no_pool", text)
    return Reason("out_of_ips", "; ".join(_exhausted(space, p) for p in familiar))


def why_not_that_family(service: LoadBalancer, address: Address) -> Reason:
    """Return why an address that was asked for by name is of no family of the Service."""
    have = spell_versions(service.families)
    text = (
        f"{address} is IPv{address.version}, but spec.ipFamilies of the Service is {have}; add "
        f"IPv{address.version} there (ipFamilyPolicy: PreferDualStack), or ask for another address"
    )
    return Reason("family_mismatch", text)


def why_waiting(service: LoadBalancer, lacking: Reason) -> Reason:
    """Return why a Service that requires both families has no address yet."""
    text = f"{spell_versions(service.families)} are given together (RequireDualStack)"
    return Reason(lacking.code, f"{text}: {lacking.message}")


def why_declined(version: int) -> str:
    """Return why PreferDualStack has but one family, as the end of a sentence."""
    return f"spec.ipFamilies leaves IPv{version} out, as the cluster or its author decided"


def spell_versions(versions: Iterable[int]) -> str:
    """Return IP versions for people."""
    return " and ".join(f"IPv{version}" for version in versions)


def unreadable(words: tuple[str, ...]) -> Reason:
    """Return that a request is no address."""
    text = f"requested {', '.join(words)}: not an IP address; write addresses such as 192.0.2.10"
    return Reason("invalid_request", text)


def _held(service: LoadBalancer, holder: LoadBalancer, slot: Slot) -> Reason:
    taken = f"{spell(slot)} is held by Service {holder.metadata.key}"
    if service.sharing_key and service.sharing_key == holder.sharing_key:
        text = (
            f"{taken}, which has the sharing key too, but cannot share it: ports must differ, "
            "externalTrafficPolicy must be equal, and across namespaces both must name the other's"
        )
        return Reason("already_allocated_incompatible_service", text)
    text = f"{taken}; ask for another address, or give both one lbipam.cilium.io/sharing-key"
    return Reason("already_allocated", text)


def _mismatch(service: LoadBalancer, pool: Pool) -> str:
    """Return which demand of the pool's selector the Service does not meet, and how to meet it."""
    if pool.selector is None:
        return f"pool {pool.name} has an invalid serviceSelector; see its conditions"
    labels = service.selectable
    missing = [r for r in pool.selector.requirements if not r.matches(labels)]
    if not missing:
        return f"pool {pool.name} selects this Service"
    return f"pool {pool.name} selects {_demands(missing)}; {_remedy(service, missing)}"


def _demands(missing: list[Requirement]) -> str:
    texts = []
    for demand in missing:
        wanted = "|".join(sorted(demand.values))
        match demand.operator:
            case Operator.IN:
                texts.append(f"the label {demand.key}={wanted}, which the Service lacks")
            case Operator.EXISTS:
                texts.append(f"the label {demand.key}, which the Service lacks")
            case Operator.NOT_IN:
                texts.append(f"no {demand.key}={wanted}, which the Service has")
            case Operator.DOES_NOT_EXIST:
                texts.append(f"no label {demand.key}, which the Service has")
    return " and ".join(texts)


def _remedy(service: LoadBalancer, missing: list[Requirement]) -> str:
    if any(demand.key in (NAMESPACE_LABEL, NAME_LABEL) for demand in missing):
        return "change the pool's serviceSelector"
    changes = " ".join(_change(demand) for demand in missing)
    namespace, name = service.metadata.namespace, service.metadata.name
    return f"kubectl label service -n {namespace} {name} {changes}"


def _change(demand: Requirement) -> str:
    if demand.operator in (Operator.NOT_IN, Operator.DOES_NOT_EXIST):
        return f"{demand.key}-"
    return f"{demand.key}={min(demand.values, default='')}"


def _unusable(space: AddressSpace, pool: Pool) -> str:
    if pool.disabled:
        return f"pool {pool.name} is disabled; set spec.disabled: false"
    overlap = space.overlaps[pool.name]
    return (
        f"pool {pool.name} hands out nothing, as its block {overlap.block.text} overlaps "
        f"{overlap.other_block.text} of the older pool {overlap.other}; change one of them"
    )


def _exhausted(space: AddressSpace, pool: Pool) -> str:
    count = total(pool)
    used = space.used[pool.name]
    kept = sum(pool.holds(*slot) for slot in space.reserved)
    strange = sum(pool.holds(*slot) and slot not in space.holders for slot in space.proof.strangers)
    text = f"{used} of {count} in use" + (f", {kept} reserved" if kept else "")
    text += f", {strange} answered for by strangers" if strange else ""
    return f"pool {pool.name} is exhausted: {text}; add a block or another pool, or free an address"


def _names(pools: list[Pool]) -> str:
    return ", ".join(pool.name for pool in pools)
