"""What a speaker tells those who ask or watch: its peers, its routes, what happens.

    bgp.PeerState, Path, Event  ->  plain values for JSON lines

Units       times in seconds; `uptime_s` counts from the moment the session was established
"""

from collections.abc import Sequence
from typing import Any

from cairn.bgp.event import Event, Path, PeerDown, PeerState, PeerStateChanged, PeerUp
from cairn.bgp.transitions import State
from cairn.drive.bgp_journal import describe


def report_peer(peer: PeerState, now: float) -> dict[str, Any]:
    """Return one peer."""
    established = peer.state is State.ESTABLISHED
    return {
        "name": peer.name,
        "address": str(peer.remote),
        "asn": peer.remote_asn,
        "local_asn": peer.local_asn,
        "state": str(peer.state),
        "uptime_s": round(now - peer.since, 3) if established else None,
        "router_id": peer.remote_id,
        "hold_time_s": peer.hold_time_s,
        "families": [str(family) for family in peer.families],
        "counts": {
            str(family): {"received": count.received, "announced": count.announced}
            for family, count in peer.counts.items()
        },
        "not_announced": dict(peer.not_announced),
        "messages_received": peer.messages_in,
        "messages_sent": peer.messages_out,
        "prefixes_received": peer.prefixes_received,
        "prefixes_announced": peer.prefixes_announced,
        "queued": peer.out_queue,
        "last_error": peer.last_error,
    }


def report_route(path: Path) -> dict[str, Any]:
    """Return one route that this node announces."""
    return {
        "prefix": str(path.prefix),
        "next_hop": None if path.next_hop is None else str(path.next_hop),
        "local_pref": path.local_pref,
        "med": path.med,
        "communities": [str(community) for community in path.communities],
    }


def report_event(event: Event) -> dict[str, Any] | None:
    """Return one event; None for those of no interest beyond this process."""
    found = describe(event)
    text = found[1] if found else ""
    match event:
        case PeerUp():
            return {
                "event": "peer-up",
                "peer": event.peer,
                "address": str(event.remote),
                "asn": event.asn,
                "hold_time_s": event.hold_time_s,
                "text": text,
            }
        case PeerDown():
            return {
                "event": "peer-down",
                "peer": event.peer,
                "address": str(event.remote),
                "reason": event.reason,
                "was": str(event.was),
                "graceful": event.graceful,
                "text": text,
            }
        case PeerStateChanged():
            return {
                "event": "peer-state",
                "peer": event.peer,
                "address": str(event.remote),
                "was": str(event.was),
                "state": str(event.now),
            }
    return {"event": "warning", "text": text} if found else None


def report_state(
    router_id: str, asn: int, peers: Sequence[PeerState], rib: Sequence[Path], now: float
) -> dict[str, Any]:
    """Return everything: the answer to {"get": "state"}."""
    return {
        "router_id": router_id,
        "asn": asn,
        "peers": [report_peer(peer, now) for peer in peers],
        "routes": [report_route(path) for path in rib if path.announced],
    }
