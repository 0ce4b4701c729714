"""Which routes the kernel should hold, and how a restart of the router keeps them meanwhile."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from cairn.desired.routes import KernelRoute, NextHop
from cairn.net import Address, Network, parse_address, parse_network
from cairn.router.fib import Changes, Fib

VIP = parse_network("192.168.1.100/32")
N1, N2, N3 = (parse_address(f"192.168.1.{n}") for n in (10, 11, 12))


def route(*gateways: Address, prefix: Network = VIP, metric: int = 20) -> KernelRoute:
    return KernelRoute(prefix, tuple(NextHop(g) for g in gateways), metric=metric)


def fib(found: Iterable[KernelRoute] = ()) -> Fib:
    return Fib(found, metric=20)


def test_next_hops_are_ordered_by_address_not_by_arrival() -> None:
    table = fib()
    table.set_paths(VIP, [N3, N1, N2])
    assert table.changes() == Changes(replace=(route(N1, N2, N3),), delete=())
    table.set_paths(VIP, [N2, N3, N1])
    assert not table.changes()


def test_withdrawal_shrinks_then_deletes() -> None:
    table = fib()
    table.set_paths(VIP, [N1, N2])
    table.changes()
    table.set_paths(VIP, [N2])
    assert table.changes().replace == (route(N2),)
    table.set_paths(VIP, [])
    assert table.changes() == Changes(replace=(), delete=(route(N2),))


def test_found_routes_stay_until_their_peer_is_settled() -> None:
    table = fib([route(N1, N2, N3)])
    assert not table.changes()
    table.set_paths(VIP, [N1])  # node 1 is back first: the others' share must stay
    table.settle(N1, 4)
    table.settle(N2, 6)  # has told its IPv6 routes alone so far
    assert not table.changes()
    table.settle(N2, 4)  # back, and no longer announces it
    assert table.changes().replace == (route(N1, N3),)
    table.settle_all()
    assert table.changes().replace == (route(N1),)
    assert table.kept == 0


def test_stale_routes_are_swept_when_the_grace_ends() -> None:
    table = fib([route(N1), route(N2, prefix=parse_network("192.168.1.101/32"))])
    table.set_paths(VIP, [N1])
    table.settle_all()
    changes = table.changes()
    assert changes.replace == ()
    assert [str(r.prefix) for r in changes.delete] == ["192.168.1.101/32"]


def test_a_route_that_someone_removed_is_written_again() -> None:
    table = fib()
    table.set_paths(VIP, [N1, N2])
    table.changes()
    table.observe([])
    assert table.changes().replace == (route(N1, N2),)
    table.observe([route(N1, N2)])
    assert not table.changes()


def test_a_strange_route_of_our_protocol_is_swept() -> None:
    table = fib()
    table.observe([route(N3)])
    assert table.changes().delete == (route(N3),)


def test_a_refused_route_is_tried_again_at_the_next_look() -> None:
    table = fib()
    table.set_paths(VIP, [N1])
    (refused,) = table.changes().replace
    table.failed(refused)
    table.set_paths(VIP, [N1])
    assert table.changes().replace == (refused,)


def test_weights_are_kept_changed_and_dropped_for_one_next_hop_alone() -> None:
    table = fib()
    table.set_paths(VIP, [N1, N2], {N1: 2, N2: 1})
    both = table.changes().replace[0].nexthops
    assert both == (NextHop(N1, weight=2), NextHop(N2, weight=1))
    table.set_paths(VIP, [N1, N2], {N1: 2, N2: 1})
    assert not table.changes()
    table.set_paths(VIP, [N1, N2])
    assert table.changes().replace == (route(N1, N2),)
    table.set_paths(VIP, [N1], {N1: 7})
    assert table.changes().replace == (route(N1),)


def test_weights_of_an_earlier_run_stay_with_their_next_hops() -> None:
    found = KernelRoute(VIP, (NextHop(N1, weight=2), NextHop(N2, weight=3)), metric=20)
    table = fib([found])
    table.set_paths(VIP, [N1], {N1: 2})
    assert not table.changes()


def test_a_refused_next_hop_is_left_out_until_the_next_look() -> None:
    table = fib()
    table.set_paths(VIP, [N1, N2, N3])
    (all_three,) = table.changes().replace
    table.failed(all_three)
    table.leave_out(VIP, [N2])
    assert table.changes().replace == (route(N1, N3),)
    table.set_paths(VIP, [N1, N2])
    assert table.changes().replace == (route(N1),)
    table.observe([route(N1)])
    assert table.changes().replace == (route(N1, N2),)


def test_multipath_limit() -> None:
    table = Fib([], metric=20, multipath=2)
    table.set_paths(VIP, [N3, N2, N1])
    assert table.changes().replace == (route(N1, N2),)


GATEWAYS = st.frozensets(st.sampled_from([N1, N2, N3]))


@given(st.lists(GATEWAYS, max_size=8), GATEWAYS)
def test_applying_the_changes_reaches_the_last_paths(
    steps: list[frozenset[Address]], before: frozenset[Address]
) -> None:
    kernel = {VIP: route(*sorted(before))} if before else {}
    table = fib(kernel.values())
    for gateways in steps:
        table.set_paths(VIP, gateways)
        apply(kernel, table.changes())
    table.set_paths(VIP, steps[-1] if steps else frozenset())
    table.settle_all()
    apply(kernel, table.changes())
    last = sorted(steps[-1]) if steps else []
    assert kernel == ({VIP: route(*last)} if last else {})


def apply(kernel: dict[Network, KernelRoute], changes: Changes) -> None:
    for gone in changes.delete:
        del kernel[gone.prefix]
    for new in changes.replace:
        kernel[new.prefix] = new
