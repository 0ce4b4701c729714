"""DNS messages, sans-IO: octets to values and back.

    bytes  <->  Message

Not here    Sockets and zones (lab.dns, lab.dns_zone).
"""

from cairn.dns.message import Edns, Message, Question, read_message, write_message
from cairn.dns.name import Name, parse_name, spell_name
from cairn.dns.number import Class, Opcode, Rcode, Type
from cairn.dns.record import Record, Soa, Srv

__all__ = [
    "Class",
    "Edns",
    "Message",
    "Name",
    "Opcode",
    "Question",
    "Rcode",
    "Record",
    "Soa",
    "Srv",
    "Type",
    "parse_name",
    "read_message",
    "spell_name",
    "write_message",
]
