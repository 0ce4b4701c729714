"""KEEPALIVE: the header alone.

    nothing  ->  octets

Standards   RFC 4271 s4.4
"""

from cairn.bgp.framing import MessageType, write_frame

KEEPALIVE = write_frame(MessageType.KEEPALIVE)
"""The whole message."""
