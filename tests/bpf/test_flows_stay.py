"""Flows keep their backend where routers send them elsewhere and backends come and go."""

import flows
import pytest
from packets import ACK, SYN

pytestmark = pytest.mark.bpf


def test_no_flow_moves_when_a_node_without_backends_takes_all_of_them() -> None:
    with flows.nodes(2) as (old, new):
        # Another history: the ids of backends differ from node to node, the choices must not.
        new.serve([7, 9, 4])
        new.serve([9, 3])
        for node in (old, new):
            node.serve([1, 2, 3, 4, 5])
        begun = old.chosen(SYN)
        assert set(begun) == {1, 2, 3, 4, 5}
        assert flows.moved(begun, new.chosen(ACK)) == 0


@pytest.mark.parametrize(("backends", "limit"), [(100, 0.015), (10, 0.025)])
def test_a_backend_that_goes_takes_few_others_along(backends: int, limit: float) -> None:
    with flows.nodes(1) as (node,):
        node.serve(range(backends))
        before = node.chosen(ACK)
        node.serve(number for number in range(backends) if number != 3)
        node.forget()
        after = node.chosen(ACK)
        assert 3 in before
        assert 3 not in after
        assert flows.moved(before, after, without=3) <= limit
