"""Rules of endpoints beyond their schemas.

(new, old)  ->  list[FieldError]
"""

import ipaddress
from collections.abc import Callable, Mapping
from typing import Any

from cairn.apiserver.address_fault import address_fault
from cairn.apiserver.field_fault import invalid
from cairn.apiserver.kind import FieldError, Reason
from cairn.apiserver.naming import is_subdomain

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
