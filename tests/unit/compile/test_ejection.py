"""What becomes of backends that their own node found dead."""

from dataclasses import replace

import pytest

from cairn.compile.ejection import exclude_ejected
from cairn.desired.load_balancer import Backend, Frontend, Kind
from cairn.net import L4Address, Protocol, parse_address


def at(address: str, port: int = 8080) -> L4Address:
    return L4Address(parse_address(address), Protocol.TCP, port)


ONE, TWO = Backend(at("10.244.1.5"), "node-1"), Backend(at("10.244.2.5"), "node-2")
LEAVING = Backend(at("10.244.2.6"), "node-2", draining=True)
GONE_ONE = replace(ONE, ejected=True, draining=True)
GONE_TWO = replace(TWO, ejected=True, draining=True)
KEPT_ONE, KEPT_TWO = replace(ONE, ejected=True), replace(TWO, ejected=True)
BY_ONE, BY_TWO = frozenset({ONE.address}), frozenset({TWO.address})


@pytest.mark.parametrize(
    ("backends", "ejected", "expected"),
    [
        ((ONE, TWO), {}, (ONE, TWO)),
        ((ONE, TWO), {"node-1": frozenset()}, (ONE, TWO)),
        ((ONE, TWO), {"node-1": BY_ONE}, (GONE_ONE, TWO)),
        ((ONE, TWO, LEAVING), {"node-2": BY_TWO}, (ONE, GONE_TWO, LEAVING)),
        # a node is believed about its own backends only
        ((ONE, TWO), {"node-2": BY_ONE, "node-3": BY_TWO}, (ONE, TWO)),
        # if none is left, all stay
        ((ONE, TWO), {"node-1": BY_ONE, "node-2": BY_TWO}, (KEPT_ONE, KEPT_TWO)),
        ((ONE,), {"node-1": BY_ONE}, (KEPT_ONE,)),
        ((ONE, LEAVING), {"node-1": BY_ONE}, (KEPT_ONE, LEAVING)),
        # another port of the same pod is another backend
        ((ONE,), {"node-1": frozenset({at("10.244.1.5", 9)})}, (ONE,)),
        # what ends anyway is not ejected
        ((TWO, LEAVING), {"node-2": frozenset({LEAVING.address})}, (TWO, LEAVING)),
        ((), {"node-1": BY_ONE}, ()),
    ],
)
def test_what_is_left(
    backends: tuple[Backend, ...],
    ejected: dict[str, frozenset[L4Address]],
    expected: tuple[Backend, ...],
) -> None:
    where = at("192.168.1.100", 80)
    frontend = Frontend("default/web", Kind.LOAD_BALANCER, backends)
    found = exclude_ejected({where: frontend}, ejected)
    assert found == {where: replace(frontend, backends=expected)}
