"""Log lines of sessions: one each, with the word BGP, repetitions left out."""

import logging

import pytest

from cairn.bgp.event import (
    AttributeDiscarded,
    Event,
    PeerDown,
    PeerUp,
    PrefixLimit,
    RouteNotAnnounced,
    TreatedAsWithdraw,
)
from cairn.bgp.transitions import State
from cairn.drive.bgp_journal import Journal, describe
from cairn.net import parse_address, parse_network

ROUTER = parse_address("192.168.1.1")
VIPS = tuple(parse_network(f"192.168.1.{n}/32") for n in range(100, 105))
REFUSED = PeerDown("router", ROUTER, "Connection refused", State.CONNECT, graceful=False)

LINES = [
    (
        PeerUp("router", ROUTER, 64512, 90),
        "BGP peer 192.168.1.1 (AS 64512) Established, hold 90 s",
    ),
    (
        PeerDown("router", ROUTER, "hold timer expired", State.ESTABLISHED, graceful=True),
        "BGP peer 192.168.1.1 down: hold timer expired; its routes are kept while it restarts",
    ),
    (REFUSED, "BGP peer 192.168.1.1 not connected: Connection refused"),
    (
        TreatedAsWithdraw("router", VIPS, "ORIGIN 7"),
        "BGP peer router: malformed UPDATE, 192.168.1.100/32, 192.168.1.101/32, 192.168.1.102/32"
        " and 2 more treated as withdrawn (RFC 7606): ORIGIN 7",
    ),
    (AttributeDiscarded("router", "why"), "BGP peer router: attribute discarded: why"),
    (
        PrefixLimit("router", 101, 100),
        "BGP peer router announced 101 prefixes, limit 100: session closed",
    ),
    (
        RouteNotAnnounced("router", VIPS[0], "no next hop"),
        "BGP peer router is not told 192.168.1.100/32: no next hop",
    ),
]


@pytest.mark.parametrize(("event", "line"), LINES)
def test_one_clear_line(event: Event, line: str) -> None:
    described = describe(event)
    assert described is not None
    assert described[1] == line


def test_the_same_failure_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    journal = Journal(logging.getLogger("test-journal"))
    up = PeerUp("router", ROUTER, 64512, 90)
    with caplog.at_level(logging.INFO):
        journal.write([REFUSED])
        journal.write([REFUSED, REFUSED])
        journal.write([up, REFUSED])
    said = [record.message.split()[3] for record in caplog.records]
    assert said == ["not", "(AS", "not"]
