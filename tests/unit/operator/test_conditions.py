"""Conditions keep their times, their neighbours and nothing that is over."""

from cairn.compile.ipam_pool import PoolState
from cairn.kube.finding import Finding
from cairn.operator.condition import condition, merge
from cairn.operator.pool_status import pool_conditions


def test_a_status_that_stays_keeps_its_time() -> None:
    first = merge([], [condition("A", "True", "r", "m")], now="1")
    again = merge(first, [condition("A", "True", "r2", "m2")], now="2")
    turned = merge(again, [condition("A", "False", "r3", "m3")], now="3")
    assert [c[0]["lastTransitionTime"] for c in (first, again, turned)] == ["1", "1", "3"]
    assert again[0]["reason"] == "r2"


def test_equal_content_makes_an_equal_list() -> None:
    wanted = [condition("A", "True", "r", "m"), condition("B", "False", "r", "m")]
    stored = merge([], wanted, now="1")
    assert merge(stored, wanted, now="2") == stored


def test_others_stay_and_ours_go() -> None:
    stored = merge(
        [], [condition("A", "True", "r", "m"), condition("X", "True", "r", "m")], now="1"
    )
    assert [c["type"] for c in merge(stored, [], now="2", owned=["A"])] == ["X"]


def test_a_pools_counts_stand_in_messages() -> None:
    wanted, owned = pool_conditions(PoolState(12, 3, 1, "", (Finding("F", "text"),)), 7)
    found = {c["type"]: (c["status"], c["message"]) for c in wanted}
    assert found == {
        "cilium.io/PoolConflict": ("False", ""),
        "cilium.io/IPsTotal": ("Unknown", "12"),
        "cilium.io/IPsAvailable": ("Unknown", "8"),
        "cilium.io/IPsUsed": ("Unknown", "3"),
        "cairn.io/Findings": ("True", "text"),
    }
    assert owned == ["cairn.io/Findings"]
    assert {c["observedGeneration"] for c in wanted} == {7}
