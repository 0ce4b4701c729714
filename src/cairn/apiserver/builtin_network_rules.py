"""Rules of endpoints and network policies beyond their schemas.

(new, old)  ->  list[FieldError]
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from cairn.apiserver.address_fault import address_fault
from cairn.apiserver.field_fault import invalid
from cairn.apiserver.kind import FieldError, Reason
from cairn.apiserver.naming import is_label, is_subdomain

ENDPOINTS_LIMIT = 1000
_ADDRESS: Mapping[str, Callable[[str], object]] = {
    "IPv4": ipaddress.IPv4Address,
    "IPv6": ipaddress.IPv6Address,
}


def endpoint_slice_errors(
    new: Mapping[str, Any], old: Mapping[str, Any] | None
) -> list[FieldError]:
    """Return what is wrong with an EndpointSlice."""
    errors = []
    family = str(new.get("addressType"))
    if old is not None and old.get("addressType") != family:
        text = f'Invalid value: "{family}": field is immutable'
        errors.append(FieldError("addressType", Reason.INVALID, text))
    endpoints = new.get("endpoints") or ()
    if len(endpoints) > ENDPOINTS_LIMIT:
        text = f"Too long: must have at most {ENDPOINTS_LIMIT} items"
        errors.append(FieldError("endpoints", Reason.TOO_LONG, text))
    for index, endpoint in enumerate(endpoints):
        path = f"endpoints[{index}].addresses"
        addresses = endpoint.get("addresses") or ()
        if not addresses:
            text = "Required value: must contain at least 1 address"
            errors.append(FieldError(path, Reason.REQUIRED, text))
        for number, address in enumerate(addresses):
            if not _is_address(address, family):
                text = f'Invalid value: "{address}": must be a valid {family} address'
                errors.append(FieldError(f"{path}[{number}]", Reason.INVALID, text))
            # A server that listens on loopback alone says so in its own slice.
            elif family != "FQDN" and (fault := address_fault(address, loopback=True)):
                errors.append(invalid(f"{path}[{number}]", address, fault))
    return errors


def _is_address(text: str, family: str) -> bool:
    parse = _ADDRESS.get(family)
    if parse is None:
        return is_subdomain(text)
    try:
        parse(text)
    except ValueError:
        return False
    return True


def network_policy_errors(
    new: Mapping[str, Any], old: Mapping[str, Any] | None
) -> list[FieldError]:
    """Return what is wrong with a NetworkPolicy."""
    spec = new.get("spec") or {}
    errors: list[FieldError] = []
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            path = f"spec.{direction}[{index}]"
            for number, peer in enumerate(rule.get(side) or ()):
                errors += _peer_errors(peer, f"{path}.{side}[{number}]")
            for number, port in enumerate(rule.get("ports") or ()):
                errors += _port_errors(port, f"{path}.ports[{number}]")
    return errors


def _peer_errors(peer: Mapping[str, Any], path: str) -> list[FieldError]:
    if not peer:
        text = "Required value: must specify a peer (podSelector, namespaceSelector or ipBlock)"
        return [FieldError(path, Reason.REQUIRED, text)]
    block = peer.get("ipBlock")
    if block is None:
        return []
    if len(peer) > 1:
        text = "Forbidden: may not specify both ipBlock and another peer"
        return [FieldError(path, Reason.FORBIDDEN, text)]
    try:
        network = ipaddress.ip_network(block["cidr"], strict=False)
    except ValueError:
        text = f'Invalid value: "{block["cidr"]}": must be a network, as 10.0.0.0/8'
        return [FieldError(f"{path}.ipBlock.cidr", Reason.INVALID, text)]
    return _except_errors(block.get("except") or (), network, f"{path}.ipBlock")


def _except_errors(
    parts: Any, network: ipaddress.IPv4Network | ipaddress.IPv6Network, path: str
) -> list[FieldError]:
    errors = []
    for index, part in enumerate(parts):
        try:
            inner = ipaddress.ip_network(part, strict=False)
            inside = inner.version == network.version and (
                network.network_address <= inner.network_address  # type: ignore[operator]
                and inner.broadcast_address <= network.broadcast_address  # type: ignore[operator]
            )
        except ValueError:
            inside = False
        if not inside or inner == network:
            text = f'Invalid value: "{part}": must be a part of {network}, and not all of it'
            errors.append(FieldError(f"{path}.except[{index}]", Reason.INVALID, text))
    return errors


def _port_errors(port: Mapping[str, Any], path: str) -> list[FieldError]:
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, str) and not (is_label(number) and len(number) <= 15):
        text = f'Invalid value: "{number}": must be a port name of at most 15 characters'
        return [FieldError(f"{path}.port", Reason.INVALID, text)]
    if isinstance(number, int) and not 1 <= number <= 65535:
        text = f"Invalid value: {number}: must be between 1 and 65535, inclusive"
        return [FieldError(f"{path}.port", Reason.INVALID, text)]
    if end is not None and (not isinstance(number, int) or end < number):
        text = f"Invalid value: {end}: must not be less than a numeric `port`"
        return [FieldError(f"{path}.endPort", Reason.INVALID, text)]
    return []
