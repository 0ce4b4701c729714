"""Reader, Writer and plan: what every codec and applier stands on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.reconcile import plan
from cairn.wire import Malformed, Reader, Writer


def test_numbers_come_back_in_network_order() -> None:
    octets = Writer().u8(1).u16(0x0203).u32(0x04050607).u64(8).put(b"ab").done()
    assert octets[:7] == bytes([1, 2, 3, 4, 5, 6, 7])
    wire = Reader(octets)
    assert (wire.u8(), wire.u16(), wire.u32(), wire.u64(), wire.rest()) == (
        1,
        0x0203,
        0x04050607,
        8,
        b"ab",
    )
    assert not wire


def test_a_reader_names_the_octet_of_the_outermost_buffer() -> None:
    wire = Reader(b"\x00\x01\x02\x03")
    wire.u8()
    inner = wire.sub(2)
    inner.u8()
    with pytest.raises(Malformed) as error:
        inner.u16()
    assert error.value.at == 2
    assert wire.u8() == 3


@given(st.binary(max_size=40), st.lists(st.integers(0, 12), max_size=10))
def test_reading_never_passes_the_end(octets: bytes, lengths: list[int]) -> None:
    wire = Reader(octets)
    taken = b""
    for length in lengths:
        try:
            taken += wire.take(length)
        except Malformed:
            assert length > wire.left
    assert octets.startswith(taken)


def test_a_number_too_large_is_our_mistake() -> None:
    with pytest.raises(OverflowError):
        Writer().u8(256)


mappings = st.dictionaries(st.integers(0, 20), st.integers(0, 3), max_size=12)


@given(mappings, mappings)
def test_applying_a_plan_reaches_the_goal(actual: dict[int, int], desired: dict[int, int]) -> None:
    todo = plan(actual, desired)
    result = {key: value for key, value in actual.items() if key not in todo.delete}
    result |= {**todo.create} | {key: change.desired for key, change in todo.update.items()}
    assert todo.writes == {k: v for k, v in desired.items() if k not in actual or actual[k] != v}
    assert result == desired
    assert all(change.actual != change.desired for change in todo.update.values())


@given(mappings)
def test_no_difference_no_plan(state: dict[int, int]) -> None:
    assert not plan(state, dict(state))
