"""What a speaker tells those who ask or watch: its peers, its routes, what happens.

    bgp.PeerState, Path, Event  ->  plain values for JSON lines

Units       times in seconds; `uptime_s` counts from the moment the session was established
"""

from collections.abc import Callable, Sequence
from typing import Any

from cairn import __version__
from cairn.bfd.packet import State as BfdState
from cairn.bfd.session import Change
from cairn.bgp.event import Event, Path, PeerDown, PeerState, PeerStateChanged, PeerUp
from cairn.bgp.transitions import State
from cairn.drive.bgp_journal import describe
from cairn.net import Address

Lives = Callable[[str], tuple[int, float]]
"""Tells of a peer how many sessions ended lately, and how long they were up on average."""


def no_lives(_: str) -> tuple[int, float]:
    """Return that none ended."""
    return 0, 0.0


def report_peer(peer: PeerState, now: float, lives: tuple[int, float] = (0, 0.0)) -> dict[str, Any]:
    """Return one peer; `lives`: how many of its sessions ended lately, and their mean length."""
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
        "ended": lives[0],
        "life_s": round(lives[1], 3),
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


def report_bfd(remote: Address, state: BfdState, told: BfdState, *, was_up: bool) -> dict[str, Any]:
    """Return one BFD session; `told` is the state that the neighbour last told."""
    return {
        "address": str(remote),
        "state": state.text,
        "remote_state": told.text,
        "was_up": was_up,
    }


def report_change(change: Change) -> dict[str, Any]:
    """Return one change of a BFD session."""
    was_up = BfdState.UP in (change.was, change.state)
    return {
        "event": "bfd",
        **report_bfd(change.remote, change.state, change.remote_state, was_up=was_up),
        "was": change.was.text,
        "diagnostic": change.diagnostic.name.lower().replace("_", "-"),
    }


def report_state(
    router_id: str,
    asn: int,
    peers: Sequence[PeerState],
    rib: Sequence[Path],
    now: float,
    *,
    bfd: Sequence[dict[str, Any]] = (),
    lives: Lives = no_lives,
) -> dict[str, Any]:
    """Return everything: the answer to {"get": "state"}."""
    return {
        "version": __version__,
        "bfd": list(bfd),
        "router_id": router_id,
        "asn": asn,
        "peers": [report_peer(peer, now, lives(peer.name)) for peer in peers],
        "routes": [report_route(path) for path in rib if path.announced],
    }
