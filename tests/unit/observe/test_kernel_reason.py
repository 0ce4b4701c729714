"""Which of the kernel's reasons are told, by their names on whatever kernel."""

import pytest

from cairn.abi.event import KERNEL_REASONS, KernelTelling
from cairn.observe.kernel_reason import BEYOND, BEYOND_NAME, ORDINARY, short_names, telling

IGNORED, TOLD = KernelTelling.IGNORED, KernelTelling.TOLD
ENUM = {
    0: "SKB_NOT_DROPPED_YET",
    1: "SKB_CONSUMED",
    2: "SKB_DROP_REASON_NOT_SPECIFIED",
    3: "SKB_DROP_REASON_NETFILTER_DROP",
    4: "SKB_DROP_REASON_TCP_OLD_ACK",
    5: "SKB_DROP_REASON_TC_INGRESS",
    6: "SKB_DROP_REASON_NO_SOCKET",
    7: "SKB_DROP_REASON_OF_NEXT_YEAR",
    8: "SKB_DROP_REASON_MAX",
    -65536: "SKB_DROP_REASON_SUBSYS_MASK",
}


@pytest.mark.parametrize(
    ("number", "name", "what"),
    [
        (1, "SKB_CONSUMED", IGNORED),
        (2, "NOT_SPECIFIED", KernelTelling.TOLD_ON_ITS_WAY),
        (3, "NETFILTER_DROP", TOLD),
        (4, "TCP_OLD_ACK", IGNORED),
        (5, "TC_INGRESS", IGNORED),
        (6, "NO_SOCKET", KernelTelling.TOLD_BUT_PONG),
        (7, "OF_NEXT_YEAR", TOLD),
        (8, "MAX", IGNORED),
        (BEYOND, BEYOND_NAME, TOLD),
    ],
)
def test_reasons_are_judged_by_name(number: int, name: str, what: KernelTelling) -> None:
    names = short_names(ENUM)
    assert names[number] == name
    assert telling(names)[number] == what


def test_what_is_no_drop_and_what_has_no_number_has_no_name() -> None:
    names = short_names(ENUM)
    assert {0, -65536} & names.keys() == set()
    table = telling(names)
    assert len(table) == KERNEL_REASONS
    assert table[0] == IGNORED
    assert table[200] == TOLD  # a kernel that names it later has it told


def test_no_reason_stands_in_two_groups() -> None:
    names = [name for group in ORDINARY.values() for name in group]
    assert len(names) == len(set(names))
