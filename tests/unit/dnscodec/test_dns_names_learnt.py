"""What was learnt of names: selectors of addresses, time, room; with a clock of the test's own."""

from ipaddress import ip_address

from cairn.abi.address import write_address
from cairn.dns.learnt import MOST_SELECTORS, Keeping, Names
from cairn.machine import VirtualClock

A, B, C = (write_address(ip_address(f"198.51.100.{n}")) for n in (1, 2, 3))
KEEPING = Keeping(least_ttl_s=60, most_ttl_s=3600, grace_s=30)


def names(*selectors: tuple[str, str, int], capacity: int = 1000) -> Names:
    found = Names(capacity)
    found.select(selectors)
    return found


def test_an_address_gets_the_selectors_of_its_names() -> None:
    table = names(("a.test", "", 10), ("", "*.test", 11), ("b.test", "", 12))
    table.learn("a.test", [A, B], 100)
    assert table.changes() == {A: (10, 11), B: (10, 11)}
    table.learn("b.test", [B], 100)
    assert table.changes() == {B: (10, 11, 12)}
    assert table.changes() == {}


def test_a_name_without_selector_is_kept_for_one_that_comes_later() -> None:
    table = names()
    table.learn("a.test", [A], 100)
    assert table.changes() == {}
    table.select([("a.test", "", 10)])
    assert table.changes() == {A: (10,)}
    table.select([])
    assert table.changes() == {A: ()}


def test_time_is_the_ttl_within_bounds_and_the_grace() -> None:
    assert KEEPING.until(1, 1000) == 1000 + 60 + 30
    assert KEEPING.until(300, 1000) == 1000 + 300 + 30
    assert KEEPING.until(10**9, 1000) == 1000 + 3600 + 30


def test_what_is_due_goes_unless_it_is_kept_or_learnt_again() -> None:
    clock = VirtualClock()
    table = names(("", "*.test", 10))
    table.learn("a.test", [A, B, C], clock.now + 60)
    table.changes()
    assert table.due(clock.advance(59)) == {}
    assert table.due(clock.advance(2)) == {A: {"a.test"}, B: {"a.test"}, C: {"a.test"}}
    table.keep(A, ["a.test"], clock.now + 60)
    table.learn("a.test", [B], clock.now + 60)
    assert table.forget(B, ["a.test"], clock.now) == 0
    assert table.forget(C, ["a.test"], clock.now) == 1
    assert table.changes() == {C: ()}
    assert set(table.due(clock.advance(61))) == {A, B}


def test_an_answer_again_puts_off_what_is_due() -> None:
    table = names(("a.test", "", 10))
    table.learn("a.test", [A], 100)
    assert [lease.until for lease in table.news()] == [100]
    assert table.learn("a.test", [A], 102) == 0, "too little to tell"
    table.learn("a.test", [A], 200)
    assert [lease.until for lease in table.news()] == [200]
    assert table.due(150) == {}
    assert table.due(201) == {A: {"a.test"}}


def test_selectors_over_the_limit_leave_out_who_expires_first() -> None:
    count = MOST_SELECTORS + 3
    table = names(*((f"n{n}.test", "", 100 + n) for n in range(count)))
    for n in range(count):
        table.learn(f"n{n}.test", [A], 1000 + 10 * n)
    found = table.changes()[A]
    assert sorted(found) == [100 + n for n in range(3, count)]
    assert table.overflows == 1


def test_selectors_keep_their_places() -> None:
    table = names(*((f"n{n}.test", "", 50 - n) for n in range(20)))
    for n in range(12):
        table.learn(f"n{n}.test", [A], 1000)
    before = table.changes()[A]
    table.learn("n12.test", [A], 2000)
    assert table.changes()[A] == (*before, 38)
    table.due(1000)
    assert table.forget(A, ["n3.test"], 1000) == 1
    assert table.changes()[A] == (*(i for i in before if i != 47), 38)


def test_room_is_bounded_and_names_without_a_selector_go_first() -> None:
    table = names(("", "*.test", 10), capacity=3)
    table.learn("a.test", [A], 100)
    table.learn("other", [A, B], 5000)
    table.learn("b.test", [B], 200)
    assert (len(table), table.evicted) == (3, 1)
    table.learn("c.test", [C], 300)
    assert {lease.name for lease in table.leases()} == {"a.test", "b.test", "c.test"}
    table.learn("d.test", [C], 400)
    assert {lease.name for lease in table.leases()} == {"b.test", "c.test", "d.test"}
    assert table.changes() == {B: (10,), C: (10,)}


def test_who_learns_most_makes_room() -> None:
    table = names(("", "*.test", 10), capacity=4)
    table.learn("quiet.test", [A], 50, owner="quiet")
    for n in range(100):
        table.learn(f"n{n}.test", [A, B], 1000 + n, owner="loud")
    held = {(lease.name, lease.addresses[0]) for lease in table.leases()}
    assert ("quiet.test", A) in held
    assert len(held) == 4
    assert table.evicted == 197


def test_what_the_data_plane_holds_is_taken_over() -> None:
    table = names(("a.test", "", 10), ("b.test", "", 11))
    table.learn("a.test", [A], 100)
    assert table.adopt({A: (10, 11), B: (11,)}, 500) == 2
    assert table.changes() == {}, "it stands already"
    table.due(499)
    assert table.due(500) != {}
    table.select([("a.test", "", 10)])
    assert table.changes() == {A: (10,), B: ()}, "a selector that is gone is not kept"


def test_what_was_not_written_is_named_again() -> None:
    table = names(("a.test", "", 10))
    table.learn("a.test", [A], 100)
    assert table.changes() == {A: (10,)}
    table.unsaid([A])
    assert table.changes() == {A: (10,)}
    table.adopt({}, 100)
    assert table.changes() == {A: (10,)}, "the data plane is empty"
