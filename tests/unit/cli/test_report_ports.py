"""What the BGP port of a peer says now: it accepts, refuses, or the address is nobody's."""

import socket

from cairn.cli.report_ports import ask_ports


def test_who_listens_accepts_and_who_does_not_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert ask_ports(["127.0.0.1", "127.0.0.2"], port) == {
            "127.0.0.1": "connected",
            "127.0.0.2": "refused",
        }


def test_nobody_to_ask_is_nobody_asked() -> None:
    assert ask_ports([]) == {}
