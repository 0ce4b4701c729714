"""Sockets in namespaces, ended when the data plane says that their backend has gone."""

from collections.abc import Iterator

import pytest
from socket_bed import FAMILIES, SocketBed, is_ended, place, socket_bed

from cairn.net import Protocol

pytestmark = [pytest.mark.root, pytest.mark.bpf]

ADDRESSES = pytest.mark.parametrize("host", FAMILIES)
PROTOCOLS = pytest.mark.parametrize("protocol", [Protocol.TCP, Protocol.UDP])


@pytest.fixture
def bed() -> Iterator[SocketBed]:
    with socket_bed() as made:
        yield made


@PROTOCOLS
@ADDRESSES
def test_sockets_to_the_backend_end_in_every_namespace(
    bed: SocketBed, host: str, protocol: Protocol
) -> None:
    ports = {name: bed.listen(name, host, protocol) for name in bed.names}
    for name, port in ports.items():
        dead = [bed.connect(name, host, port, protocol) for _ in range(3)]
        assert bed.end(host, port, protocol) == 3
        assert all(is_ended(sock) for sock in dead)


@PROTOCOLS
def test_other_sockets_stay(bed: SocketBed, protocol: Protocol) -> None:
    name, host = bed.names[0], "127.0.0.1"
    gone, stays = bed.listen(name, host, protocol), bed.listen(name, host, protocol)
    dead = bed.connect(name, host, gone, protocol)
    direct = bed.connect(name, host, gone, protocol, translated=False)
    elsewhere = bed.connect(name, host, stays, protocol)
    assert bed.end(host, gone, protocol) == 1
    assert is_ended(dead)
    assert not is_ended(direct)
    assert not is_ended(elsewhere)


def test_one_protocol_at_a_time(bed: SocketBed) -> None:
    name, host = bed.names[0], "127.0.0.1"
    port = bed.listen(name, host, Protocol.UDP)
    datagrams = bed.connect(name, host, port, Protocol.UDP)
    assert bed.end(host, port, Protocol.TCP) == 0
    assert not is_ended(datagrams)
    assert bed.end(host, port, Protocol.UDP) == 1


def test_a_socket_that_has_moved_on_stays(bed: SocketBed) -> None:
    """An unconnected socket, or one that connected to another backend since, has another peer."""
    name, host = bed.names[0], "127.0.0.1"
    first, second = (bed.listen(name, host, Protocol.UDP) for _ in range(2))
    sock = bed.connect(name, host, first, Protocol.UDP)
    sock.connect((host, second))
    assert bed.end(host, first, Protocol.UDP) == 0
    assert not is_ended(sock)


def test_what_was_ended_is_forgotten(bed: SocketBed) -> None:
    name, host = bed.names[0], "127.0.0.1"
    port = bed.listen(name, host, Protocol.UDP)
    bed.connect(name, host, port, Protocol.UDP)
    bed.end(host, port, Protocol.UDP)
    assert bed.ender.find({place(host, port)}, Protocol.UDP) == {}


def test_a_namespace_that_has_gone_holds_up_nothing(bed: SocketBed) -> None:
    name, host = bed.names[1], "127.0.0.1"
    port = bed.listen(name, host, Protocol.UDP)
    dead = bed.connect(name, host, port, Protocol.UDP)
    found = bed.ender.find({place(host, port)}, Protocol.UDP)
    paths = ["/run/netns/ct-there-is-none", *bed.paths]
    assert bed.ender.end(found, Protocol.UDP, paths) == 1
    assert is_ended(dead)
