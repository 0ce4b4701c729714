"""A kernel that does not answer costs the router a line in the log, and nothing else."""

import logging

import pytest

from cairn.net import parse_address, parse_network
from cairn.netlink.socket import RouteSocket
from cairn.router.fib import Fib
from cairn.router.kernel import KernelWriter


def test_a_silent_kernel_is_said_once_and_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    socket = RouteSocket()
    fib = Fib((), metric=20)
    writer = KernelWriter(socket, fib)
    socket.close()
    with caplog.at_level(logging.ERROR):
        writer.look()
        writer.look()
        fib.set_paths(parse_network("192.0.2.1/32"), [parse_address("192.0.2.2")])
        writer.write()
    assert len(caplog.records) == 1
    assert "trying again" in caplog.text


def test_what_was_not_written_is_found_at_the_next_look() -> None:
    prefix = parse_network("192.0.2.1/32")
    socket = RouteSocket()
    fib = Fib((), metric=20)
    socket.close()
    fib.set_paths(prefix, [parse_address("192.0.2.2")])
    KernelWriter(socket, fib).write()
    fib.observe(())
    assert [route.prefix for route in fib.changes().replace] == [prefix]
