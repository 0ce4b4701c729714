"""Reading the kernel's list of connections, and asking it about a real one."""

import socket
import sys
from ipaddress import ip_address

import pytest

from cairn.linux.tcp_table import connected_to, read_address, read_peers

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"


def digits(address: str) -> str:
    packed = ip_address(address).packed
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    turn = -1 if sys.byteorder == "little" else 1
    return b"".join(word[::turn] for word in words).hex().upper()


def line(local_port: int, remote: str, state: str) -> str:
    return f"   0: {digits('192.168.1.10')}:{local_port:04X} {digits(remote)}:D431 {state} 0 0\n"


def test_established_connections_to_the_port_are_found() -> None:
    table = HEAD + line(22, "192.168.50.10", "01") + line(22, "192.168.50.11", "06")
    table += line(80, "192.168.50.12", "01")
    assert read_peers(table, 22) == {ip_address("192.168.50.10")}


@pytest.mark.parametrize("text", ["192.168.50.10", "fd00:50::a", "2001:db8::1:0:2"])
def test_addresses_are_read_as_the_kernel_writes_them(text: str) -> None:
    assert read_address(digits(text)) == ip_address(text)


def test_a_mapped_address_is_an_ipv4_one() -> None:
    assert read_address(digits("::ffff:192.0.2.7")) == ip_address("192.0.2.7")


@pytest.mark.parametrize("text", ["", "zz", "0102"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="."):
        read_address(text)


@pytest.mark.parametrize("loopback", ["127.0.0.1", "::1"])
def test_a_real_connection_is_found(loopback: str) -> None:
    family = socket.AF_INET6 if ":" in loopback else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((loopback, 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert connected_to(port) == ()
        with socket.create_connection((loopback, port)), listener.accept()[0]:
            assert connected_to(port) == (ip_address(loopback),)
