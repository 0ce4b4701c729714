"""The speaker's metrics: sessions, routes, BFD, how long an announcement takes.

    PeerState, Path, Event  ->  families of drive.metrics_text

Cost        nothing between fetches but a count per session that ends
"""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence

from cairn.bgp.event import Event, Path, PeerDown, PeerState, PeerUp
from cairn.bgp.transitions import State
from cairn.drive.bgp_metrics import PEER, peer_labels, session_families
from cairn.drive.metrics_text import Family, Histogram, common, counter, gauge, histogram, number

RECENT_S = 600.0
"""How long back lives of sessions are of interest."""
LIVES_KEPT = 16


class SpeakerFigures:
    """What is counted between fetches."""

    def __init__(self) -> None:
        self._up: dict[str, float] = {}
        self._lives: dict[str, deque[tuple[float, float]]] = defaultdict(
            lambda: deque(maxlen=LIVES_KEPT)
        )
        self.flaps: Counter[str] = Counter()
        """Sessions that were established and ended, by the peer's name."""
        self.failures: Counter[str] = Counter()
        """Attempts that ended before a session was established."""
        self.took = Histogram()
        """From a new state until its UPDATEs are written to the sessions."""
        self.refused = 0
        """States that were refused."""

    def take(self, events: Sequence[Event], now: float) -> None:
        """Count what happened at a time of the monotonic clock."""
        for event in events:
            if isinstance(event, PeerUp):
                self._up[event.peer] = now
            elif isinstance(event, PeerDown):
                ended = self.flaps if event.was is State.ESTABLISHED else self.failures
                ended[event.peer] += 1
                began = self._up.pop(event.peer, None)
                if began is not None:
                    self._lives[event.peer].append((began, now))

    def lives(self, peer: str, now: float) -> tuple[int, float]:
        """Return how many sessions of a peer ended in the last RECENT_S, and their mean length."""
        recent = [end - start for start, end in self._lives.get(peer, ()) if now - end < RECENT_S]
        return len(recent), sum(recent) / len(recent) if recent else 0.0


def speaker_families(
    peers: Sequence[PeerState],
    rib: Iterable[Path],
    bfd: Iterable[dict[str, str]],
    figures: SpeakerFigures,
    now: float,
) -> Iterator[Family]:
    """Yield every family."""
    yield from common("speaker")
    yield from session_families("speaker", peers, figures.flaps, now)
    yield counter(
        "cairn_speaker_session_failures_total",
        "Attempts that ended before a session was established",
        {peer_labels(peer): figures.failures[peer.name] for peer in peers},
        *PEER,
    )
    yield gauge(
        "cairn_speaker_routes_not_announced",
        "Routes that a peer should be told and cannot",
        {
            (*peer_labels(peer), reason): count
            for peer in peers
            for reason, count in peer.not_announced.items()
        },
        *PEER,
        "reason",
    )
    own = sum(path.announced for path in rib)
    yield number("cairn_speaker_routes_originated", "Routes that this node has to announce", own)
    yield gauge(
        "cairn_speaker_bfd_up",
        "Whether the neighbour lives, as BFD sees it",
        {(one["address"],): one["state"].lower() == "up" for one in bfd},
        "address",
    )
    yield histogram(
        "cairn_speaker_announce_seconds",
        "From a new state until its UPDATEs are written to the sessions",
        {(): figures.took},
    )
    yield number("cairn_speaker_states_refused_total", "States refused", figures.refused)
