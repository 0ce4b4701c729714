"""Ethernet addresses as text and as octets.

"02:00:00:00:00:01"  ->  six octets
"""


def parse_mac(text: str) -> bytes:
    """Return the octets that `text` spells; raises ValueError if they are not hexadecimal."""
    return bytes.fromhex(text.replace(":", ""))
