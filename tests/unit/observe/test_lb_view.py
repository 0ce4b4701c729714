"""Rows of the service maps: what a node holds, without names."""

import numpy as np

from cairn.abi.structs import (
    Backend,
    BackendCounters,
    BackendFlag,
    Node,
    Service,
    ServiceFlag,
    ServiceKey,
    SlotKey,
)
from cairn.net import L4Address, Protocol, parse_address
from cairn.observe.lb_view import backend_rows, frontend_rows, matching, table_row

VIP, OTHER = parse_address("192.0.2.100"), parse_address("2001:db8::100")
HERE, THERE, GONE = (parse_address(f"10.244.{n}.5") for n in (1, 2, 3))
SERVICE = Service(7, ServiceFlag.AFFINITY | ServiceFlag.LOCAL, 2, 1, 2, 600, 0)
SERVICES = {
    ServiceKey(OTHER, 53, Protocol.UDP).write(): Service(8, 0, 0, 0, 0, 0, 0).write(),
    ServiceKey(VIP, 80, Protocol.TCP).write(): SERVICE.write(),
}
BACKENDS = {
    1: Backend(HERE, 8080, BackendFlag.LOCAL, 0),
    2: Backend(THERE, 8080, 0, 2),
    3: Backend(GONE, 8080, BackendFlag.TERMINATING, 2),
    4: Backend(GONE, 8081, 0, 0),
}


def number(value: int) -> bytes:
    return value.to_bytes(4, "little")


def test_frontends_in_order_of_address() -> None:
    first, second = frontend_rows(SERVICES.items())
    assert (first.address, first.port, first.protocol) == ("192.0.2.100", 80, "TCP")
    assert (first.ready, first.local, first.affinity_s) == (2, 1, 600)
    assert first.flags == ("affinity", "local")
    assert (second.address, second.protocol, second.flags) == ("2001:db8::100", "UDP", ())


def test_backends_with_state_and_counts() -> None:
    slots = {SlotKey(7, 0).write(): number(1), SlotKey(7, 1).write(): number(2)}
    # A slot beyond the service's count is one that is just being removed.
    slots[SlotKey(7, 2).write()] = number(4)
    rows = backend_rows(
        SERVICES.items(),
        slots.items(),
        [(number(n), backend.write()) for n, backend in BACKENDS.items()],
        [(number(1), BackendCounters(5, 1, 2, 4).write())],
        [(number(2), Node(parse_address("192.168.1.11"), b"\2" * 6, 0).write())],
    )
    assert [(row.address, row.node, row.state) for row in rows] == [
        ("10.244.1.5", "here", "active"),
        ("10.244.2.5", "192.168.1.11", "active"),
        ("10.244.3.5", "192.168.1.11", "draining"),
        ("10.244.3.5", "", "unused"),
    ]
    assert rows[0].frontends == ("192.0.2.100:80/TCP",)
    counted = rows[0]
    assert (counted.opened, counted.refused, counted.reset, counted.answered) == (5, 1, 2, 4)
    assert rows[1].opened == 0


def test_frontends_of_an_address() -> None:
    assert [w.port for w in matching(SERVICES.items(), VIP, None)] == [80]
    assert matching(SERVICES.items(), VIP, 81) == {}


def test_a_digest_tells_backends_and_not_their_numbers() -> None:
    where = L4Address(VIP, Protocol.TCP, 80)
    table = np.array([1, 2, 2, 1, 2], "<u4")
    renumbered = {11: BACKENDS[2], 9: BACKENDS[1]}
    first = table_row(where, SERVICE, table, BACKENDS, None)
    same = table_row(where, SERVICE, np.array([9, 11, 11, 9, 11], "<u4"), renumbered, None)
    other = table_row(where, SERVICE, np.array([2, 1, 1, 2, 1], "<u4"), BACKENDS, None)
    assert first.shares == same.shares == {"10.244.1.5:8080": 2, "10.244.2.5:8080": 3}
    assert first.digest == same.digest != other.digest
    assert first.chosen == ""


def test_a_client_with_affinity_is_one_whatever_its_port() -> None:
    where = L4Address(VIP, Protocol.TCP, 80)
    table = np.random.default_rng(3).choice([1, 2], 4093).astype("<u4")
    client = parse_address("203.0.113.9")

    def chosen(service: Service) -> set[str]:
        return {
            table_row(where, service, table, BACKENDS, (client, port)).chosen
            for port in range(1, 50)
        }

    assert len(chosen(SERVICE)) == 1
    assert len(chosen(Service(7, 0, 2, 1, 2, 0, 0))) == 2
