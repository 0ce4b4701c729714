"""Addresses that nobody outside their own host can be reached at.

    text  ->  what is wrong with it as the address of an endpoint or a Service, "" if nothing is

Standards   RFC 6890 (special-purpose addresses)
"""

import ipaddress

EXPECTED = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_SPECIAL = (
    ("is_unspecified", "may not be unspecified (0.0.0.0 or ::)"),
    ("is_loopback", "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
    ("is_link_local", "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
    ("is_multicast", "may not be a multicast address"),
)


def address_fault(text: str, *, loopback: bool = False) -> str:
    """Return what is wrong with an address; "" if nothing is. `loopback` lets those pass."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return EXPECTED
    if loopback and address.is_loopback:
        return ""
    return next((told for sort, told in _SPECIAL if getattr(address, sort)), "")
