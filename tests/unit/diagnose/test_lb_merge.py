"""The nodes' rows made one: sums, names from the API's objects, and what differs."""

from cairn.desired.load_balancer import Backend, Frontend, Kind
from cairn.diagnose.lb_merge import Names, differing, merge_backends, merge_frontends, names_of
from cairn.kube.node import NodeFacts
from cairn.net import L4Address, Protocol, parse_address
from cairn.observe.lb_rows import HERE, BackendRow, FrontendRow, TableRow

FRONTEND = "192.0.2.100:80/TCP"
POD = L4Address(parse_address("10.244.2.5"), Protocol.TCP, 8080)
NAMES = Names(
    {
        FRONTEND: Frontend(
            "default/web",
            Kind.LOAD_BALANCER,
            (Backend(POD, "node-2"), Backend(POD, "node-3", draining=True)),
        )
    },
    {"192.168.1.11": "node-2"},
)


FACTS = NodeFacts("node-2", (parse_address("192.168.1.11"),), (), "", ejected=frozenset({POD}))


def frontend(ready: int = 2, port: int = 80) -> FrontendRow:
    return FrontendRow("192.0.2.100", port, "TCP", ready, 1, ("local",), 0)


def backend(node: str, state: str = "active", opened: int = 1) -> BackendRow:
    return BackendRow("10.244.2.5", 8080, node, state, (FRONTEND,), opened, opened, 0, 0)


def table(digest: str) -> TableRow:
    return TableRow(FRONTEND, 4093, digest, {"10.244.2.5:8080": 4093}, "")


def test_frontends_get_their_names() -> None:
    (row,) = merge_frontends({"node-1": [frontend()], "node-2": [frontend(3)]}, NAMES)
    assert (row.service, row.kind, row.draining) == ("default/web", "load-balancer", 1)
    assert row.ready == {"node-1": 2, "node-2": 3}
    assert row.missing == ()


def test_a_frontend_that_a_node_lacks() -> None:
    rows = merge_frontends({"node-1": [frontend(), frontend(port=81)], "node-2": []}, NAMES)
    assert [row.missing for row in rows] == [("node-2",), ("node-2",)]
    assert (rows[1].service, rows[1].kind) == ("", "")


def test_counters_are_summed() -> None:
    said = {"node-1": [backend("192.168.1.11", opened=4)], "node-2": [backend(HERE, opened=3)]}
    (row,) = merge_backends(said, NAMES)
    assert (row.opened, row.answered) == (7, 7)
    assert (row.node, row.services, row.state) == ("node-2", ("default/web",), "active")


def test_a_backends_node_is_named_by_its_address() -> None:
    (row,) = merge_backends({"node-1": [backend("192.168.1.11")]}, NAMES)
    assert row.node == "node-2"
    (row,) = merge_backends({"node-1": [backend("192.168.1.99")]}, NAMES)
    assert row.node == "192.168.1.99"


def test_states_that_differ_are_told_with_the_nodes() -> None:
    said = {"node-1": [backend("", "draining")], "node-2": [backend(HERE)]}
    (row,) = merge_backends(said, NAMES)
    assert row.state == "active on node-2; draining on node-1"


def test_backends_that_their_node_ejected() -> None:
    names = names_of([], [], [FACTS])
    (row,) = merge_backends({"node-1": [backend("192.168.1.11", "draining")]}, names)
    assert (row.state, row.node) == ("ejected", "node-2")
    (row,) = merge_backends({"node-1": [backend("192.168.1.11")]}, names)
    assert row.state == "ejected, but no other is left"


def test_tables_that_differ() -> None:
    assert differing({"node-1": [table("a")], "node-2": [table("a")]}) == []
    (line,) = differing({"node-1": [table("a")], "node-2": [table("b")]})
    assert line == f"{FRONTEND}: the nodes' tables differ: node-1 a, node-2 b"
    (line,) = differing({"node-1": [table("a")], "node-2": []})
    assert line == f"{FRONTEND}: no table on node-2"
