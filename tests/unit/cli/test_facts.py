"""What the doctor's facts are made from: two looks at the router tell what it dropped meanwhile."""

from cairn.cli.facts import grown
from cairn.diagnose.facts import RouterReport


def test_counters_grow_between_two_looks() -> None:
    before = RouterReport(asn=64512, counters={"TCPMD5NotFound": 6})
    now = RouterReport(asn=64512, counters={"TCPMD5NotFound": 9, "TCPMD5Failure": 1})
    assert grown(before, now).grew == {"TCPMD5NotFound": 3, "TCPMD5Failure": 1}
    assert grown(before, now).counters == {"TCPMD5NotFound": 6}


def test_a_router_that_is_not_asked_twice_tells_of_no_growth() -> None:
    before, silent = RouterReport(counters={"TCPMD5NotFound": 6}), RouterReport(skipped="no answer")
    assert grown(before, silent) is before
    assert grown(silent, before) is silent
