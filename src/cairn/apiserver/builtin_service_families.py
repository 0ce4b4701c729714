"""A Service's cluster addresses: how many families it has, and one address of each.

    spec, the spec before, Context  ->  spec with ipFamilyPolicy, ipFamilies, clusterIP, clusterIPs

Invariants  The first address and family never change; the second comes and goes only when the
            client says so, by ipFamilyPolicy or by the lists themselves.
Standards   KEP-563 (dual stack): single and dual stack, upgrade and downgrade
"""

import ipaddress
from collections.abc import Mapping
from typing import Any

from cairn.apiserver.address_fault import EXPECTED
from cairn.apiserver.field_fault import duplicate, invalid, required
from cairn.apiserver.kind import (
    AllocationError,
    CompletionError,
    Context,
    FieldError,
    Json,
)

SINGLE, PREFER, REQUIRE = "SingleStack", "PreferDualStack", "RequireDualStack"
NONE = "None"
_POLICY = "spec.ipFamilyPolicy"
_FAMILIES = "spec.ipFamilies"
_ADDRESSES = "spec.clusterIPs"
_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}


def complete_cluster_ips(spec: Json, old: Mapping[str, Any], context: Context) -> None:
    """Fill in families and addresses; raises CompletionError. `old` is empty for a new Service."""
    if old.get("type") == "ExternalName":
        old = {}
    _pair_up(spec, old)
    if old and not spec.get("clusterIP"):
        _set(spec, "clusterIP", old.get("clusterIP"))
    if old and not spec.get("clusterIPs"):
        _set(spec, "clusterIPs", list(old.get("clusterIPs") or ()))
    if _is_settled(spec, old):
        return
    if not spec.get("ipFamilyPolicy"):
        spec["ipFamilyPolicy"] = old.get("ipFamilyPolicy") or _default_policy(spec)
    if errors := cluster_ip_errors(spec):
        raise CompletionError(errors)
    errors = _downgrade(spec, old) + _policy_errors(spec) + _infer_families(spec, context.families)
    if errors:
        raise CompletionError(errors)
    _choose_families(spec, context.families)
    if spec.get("clusterIP") != NONE:
        _allocate(spec, old, context)


def is_headless(spec: Mapping[str, Any]) -> bool:
    """Return whether the Service stands for its pods' addresses alone."""
    return list(spec.get("clusterIPs") or ()) == [NONE]


def cluster_ip_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    """Return what does not fit together among clusterIP, clusterIPs and ipFamilies."""
    single, addresses = spec.get("clusterIP") or "", list(spec.get("clusterIPs") or ())
    errors = []
    if single and not addresses:
        errors.append(required(_ADDRESSES))
    elif single and addresses[0] != single:
        errors.append(invalid(_ADDRESSES, addresses, "first value must match `clusterIP`"))
    elif addresses and not single:
        text = "must be empty when `clusterIP` is not specified"
        errors.append(invalid(_ADDRESSES, addresses, text))
    families = list(spec.get("ipFamilies") or ())
    errors += [
        duplicate(f"{_FAMILIES}[{index}]", family)
        for index, family in enumerate(families)
        if family in families[:index]
    ]
    malformed = _malformed(addresses)
    if len(addresses) > 2:
        malformed.append(invalid(_ADDRESSES, addresses, "may only hold up to 2 values"))
    if malformed or NONE in addresses:
        return errors + malformed
    return errors + _family_errors(addresses, families)


def release_errors(spec: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    """Return where a changed Service takes back what it was given for good."""
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return []
    errors = []
    was_headless, headless = is_headless(before), is_headless(spec)
    addresses, had = list(spec.get("clusterIPs") or ()), list(before.get("clusterIPs") or ())
    if not (was_headless and headless):
        errors += _changed(_ADDRESSES, addresses, had)
    if not was_headless and not headless:
        families, held = list(spec.get("ipFamilies") or ()), list(before.get("ipFamilies") or ())
        errors += _changed(_FAMILIES, families, held)
    return errors


def _set(spec: Json, name: str, value: Any) -> None:
    if value:
        spec[name] = value


def _pair_up(spec: Json, old: Mapping[str, Any]) -> None:
    """Let clusterIPs follow clusterIP for clients that know only the latter."""
    single = spec.get("clusterIP") or ""
    if not old:
        if single and not spec.get("clusterIPs"):
            spec["clusterIPs"] = [single]
    elif single != (old.get("clusterIP") or "") and _same(spec, old, "clusterIPs"):
        spec["clusterIPs"] = [single] if single else []


def _same(spec: Mapping[str, Any], old: Mapping[str, Any], name: str) -> bool:
    return list(spec.get(name) or ()) == list(old.get(name) or ())


def _is_settled(spec: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Return whether a PreferDualStack Service is written as it was.

    It keeps its families then, even if the cluster has more of them now, or fewer.
    """
    return (
        bool(old)
        and spec.get("type") == old.get("type")
        and spec.get("ipFamilyPolicy") == old.get("ipFamilyPolicy") == PREFER
        and _same(spec, old, "clusterIPs")
        and _same(spec, old, "ipFamilies")
    )


def _default_policy(spec: Mapping[str, Any]) -> str:
    # Whoever writes endpoints by hand, and has no address to share, may have them of any family.
    return REQUIRE if spec.get("clusterIP") == NONE and not spec.get("selector") else SINGLE


def _downgrade(spec: Json, old: Mapping[str, Any]) -> list[FieldError]:
    """Drop the second family if SingleStack says so; otherwise it must not be missing."""
    words = {"clusterIPs": "secondary cluster IP", "ipFamilies": "secondary IP family"}
    errors = []
    for name, what in words.items() if old else ():
        values, had = list(spec.get(name) or ()), list(old.get(name) or ())
        if spec["ipFamilyPolicy"] == SINGLE:
            if values == had:
                spec[name] = values[:1]
        elif values and len(values) < len(had):
            text = f"must be 'SingleStack' to release the {what}"
            errors.append(invalid(_POLICY, spec["ipFamilyPolicy"], text))
    return errors


def _policy_errors(spec: Mapping[str, Any]) -> list[FieldError]:
    words = {"clusterIPs": "cluster IPs", "ipFamilies": "IP families"}
    text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    return [
        invalid(_POLICY, SINGLE, text.format(what))
        for name, what in words.items()
        if spec["ipFamilyPolicy"] == SINGLE and len(spec.get(name) or ()) == 2
    ]


def _infer_families(spec: Json, known: tuple[str, ...]) -> list[FieldError]:
    """Name the families of addresses that the client gave without."""
    addresses, families = list(spec.get("clusterIPs") or ()), list(spec.get("ipFamilies") or ())
    errors = []
    for index in range(len(families), len(addresses) if NONE not in addresses else 0):
        family = _family_of(addresses[index])
        if family in known:
            families.append(family)
        else:
            text = f"{family} is not configured on this cluster"
            errors.append(invalid(f"{_ADDRESSES}[{index}]", addresses, text))
    spec["ipFamilies"] = families
    return errors


def _choose_families(spec: Json, known: tuple[str, ...]) -> None:
    """Complete ipFamilies; raises CompletionError if the cluster lacks what is asked for."""
    families: list[str] = spec["ipFamilies"]
    # Endpoints written by hand may be of families that the cluster itself does not have.
    free = spec.get("clusterIP") == NONE and not spec.get("selector")
    errors = []
    if not free:
        if spec["ipFamilyPolicy"] == REQUIRE and len(known) < 2:
            text = "this cluster is not configured for dual-stack services"
            errors.append(invalid(_POLICY, REQUIRE, text))
        errors += [
            invalid(f"{_FAMILIES}[{index}]", family, "not configured on this cluster")
            for index, family in enumerate(families)
            if family not in known
        ]
    if errors:
        raise CompletionError(errors)
    families = families or [known[0]]
    if spec["ipFamilyPolicy"] != SINGLE and len(families) == 1 and (free or len(known) == 2):
        families.append(_OTHER[families[0]])
    spec["ipFamilies"] = families


def _allocate(spec: Json, old: Mapping[str, Any], context: Context) -> None:
    held = list(old.get("clusterIPs") or ()) if old.get("clusterIP") != NONE else []
    addresses = list(spec.get("clusterIPs") or ())
    for index, family in enumerate(spec["ipFamilies"]):
        wanted = addresses[index] if index < len(addresses) else None
        if wanted is not None and index < len(held):
            continue  # its own already; another in its place is refused by the rules
        try:
            given = context.allocate_cluster_ip(family, wanted)
        except AllocationError as error:
            text = f"failed to allocate IP {wanted}: {error}" if wanted else str(error)
            raise CompletionError([invalid(_ADDRESSES, addresses, text)]) from error
        addresses[index : index + 1] = [given]
    spec["clusterIP"], spec["clusterIPs"] = addresses[0], addresses


def _malformed(addresses: list[str]) -> list[FieldError]:
    errors = []
    for index, address in enumerate(addresses):
        if address == NONE and index == 0:
            if len(addresses) > 1:
                text = "'None' must be the first and only value"
                errors.append(invalid(_ADDRESSES, addresses, text))
        elif not _family_of(address):
            errors.append(invalid(f"{_ADDRESSES}[{index}]", address, EXPECTED))
    return errors


def _family_errors(addresses: list[str], families: list[str]) -> list[FieldError]:
    errors = []
    if len(addresses) > len({_family_of(address) for address in addresses}):
        text = "may specify no more than one IP for each IP family"
        errors.append(invalid(_ADDRESSES, addresses, text))
    for index, (address, family) in enumerate(zip(addresses, families, strict=False)):
        if _family_of(address) != family:
            text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            errors.append(invalid(f"{_ADDRESSES}[{index}]", address, text))
    return errors


def _family_of(address: str) -> str:
    """Return IPv4 or IPv6; empty for what is no address."""
    try:
        return f"IPv{ipaddress.ip_address(address).version}"
    except ValueError:
        return ""


def _changed(path: str, values: list[str], had: list[str]) -> list[FieldError]:
    """Return where values that both lists should share differ."""
    if had and not values:
        what = "clusterIP" if path == _ADDRESSES else "ipFamily"
        return [invalid(f"{path}[0]", values, f"primary {what} can not be unset")]
    return [
        invalid(f"{path}[{index}]", values, "may not change once set")
        for index, (value, before) in enumerate(zip(values, had, strict=False))
        if value != before
    ]
