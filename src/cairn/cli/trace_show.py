"""A traced packet as one line for people.

TracedPacket  ->  14:03:09.120394 node-1 uplink  10.0.0.7:40000 > 192.0.2.1:80 TCP SYN 74: ...
"""

from datetime import datetime

from cairn.flow.view import protocol_text
from cairn.observe.traced_packet import TracedPacket

FLAGS = ((0x02, "SYN"), (0x01, "FIN"), (0x04, "RST"), (0x08, "PSH"), (0x10, "ACK"), (0x20, "URG"))
TCP, ICMP = 6, (1, 58)
_NANOSECONDS = 1_000_000_000


def compact(packet: TracedPacket) -> str:
    """Return one line: when, where, who to whom, what became of it, and why it was dropped."""
    seconds, rest = divmod(packet.time_ns, _NANOSECONDS)
    when = f"{datetime.fromtimestamp(seconds):%H:%M:%S}.{rest // 1000:06d}"
    source = _end(packet.source, packet.source_port, packet.source_name)
    destination = _end(packet.destination, packet.destination_port, packet.destination_name)
    head = f"{when} {packet.node} {packet.point:<7} {source} > {destination} {_what(packet)}"
    return f"{head}: {_became(packet)}{_skipped(packet)}"


def _end(address: str, port: int, name: str) -> str:
    host = f"[{address}]" if ":" in address and port else address
    place = f"{host}:{port}" if port else host
    return f"{name} ({place})" if name else place


def _what(packet: TracedPacket) -> str:
    """Return protocol, flags and length."""
    words = [protocol_text(packet.protocol)]
    if packet.protocol == TCP and packet.tcp_flags:
        words.append(",".join(name for bit, name in FLAGS if packet.tcp_flags & bit))
    if packet.protocol in ICMP:
        words.append(f"type {packet.icmp[0]} code {packet.icmp[1]}")
    if packet.length:
        words.append(str(packet.length))
    return " ".join(words)


def _became(packet: TracedPacket) -> str:
    text = packet.verdict
    if packet.translated:
        became = _end(packet.translated, packet.translated_port, "")
        text += f", from {became}" if packet.answer else f", to {became}"
    return f"{text} ({packet.why})" if packet.dropped and packet.why else text


def _skipped(packet: TracedPacket) -> str:
    return f" [{packet.not_told} before it not told]" if packet.not_told else ""
