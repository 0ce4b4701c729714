"""Packets that nobody honest sends: each is counted once, and answered only by right."""

from collections.abc import Iterator

import hostile
import pytest
import trial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trial import DROP, NEXT, REDIRECT, Trial

from cairn.abi.verdicts import Verdict

pytestmark = pytest.mark.bpf

ANSWERS = (Verdict.PING_ANSWERED, Verdict.ND_ANSWERED)
HUNT = settings(
    max_examples=600,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def node() -> Iterator[Trial]:
    with trial.loaded() as made:
        yield made


def consistent(action: int, verdict: Verdict, *, unchanged: bool) -> bool:
    """Return whether a hook did what it counted; a refusal is a drop that goes back."""
    if verdict is Verdict.PASS:
        return action == NEXT and unchanged
    return action in ((DROP, REDIRECT) if verdict.is_drop else (REDIRECT, NEXT))


@pytest.mark.parametrize("program", ["uplink_ingress", "pod_ingress"])
@HUNT
@given(frame=hostile.frames())
def test_an_ip_packet_is_counted_once_and_answered_by_right(
    node: Trial, program: str, frame: bytes
) -> None:
    run, verdict = node.judged(frame, program)
    assert consistent(run.verdict, verdict, unchanged=run.packet == frame)
    if run.verdict == REDIRECT and (verdict.is_drop or verdict in ANSWERS):
        is_ping, is_nd = verdict is Verdict.PING_ANSWERED, verdict is Verdict.ND_ANSWERED
        is_routed = verdict.is_drop and program == "uplink_ingress"
        faults = hostile.answer_faults(
            frame, run.packet, is_ping=is_ping, is_nd=is_nd, is_routed=is_routed
        )
        assert faults == []


@HUNT
@given(frame=hostile.frames())
def test_what_the_host_sends_goes_out_or_is_counted(node: Trial, frame: bytes) -> None:
    before = node.counted()
    run = node.run(frame, "uplink_egress")
    after = node.counted()
    new = [key[1] for key in after if after[key] != before.get(key, 0)]
    assert run.verdict in (NEXT, DROP)
    assert len(new) <= 1
    assert (run.verdict == DROP) == any(verdict.is_drop for verdict in new)
    if not new:
        assert run.packet == frame


@pytest.mark.parametrize("program", ["overlay_ingress", "overlay_egress"])
@HUNT
@given(frame=st.one_of(hostile.frames(), hostile.arps(), hostile.tagged()))
def test_the_overlay_takes_nothing_from_or_for_strangers(
    node: Trial, program: str, frame: bytes
) -> None:
    """A trial's packet has no tunnel's metadata, and no node here is far."""
    run, verdict = node.judged(frame, program)
    wanted = {
        "overlay_ingress": Verdict.DROP_TUNNEL,
        "overlay_egress": Verdict.DROP_TUNNEL_NO_NODE,
    }[program]
    assert (run.verdict, verdict) == (DROP, wanted)


@pytest.mark.parametrize("program", ["uplink_ingress", "pod_ingress"])
@HUNT
@given(frame=hostile.arps())
def test_arp_is_answered_to_hosts_alone(node: Trial, program: str, frame: bytes) -> None:
    run, verdict = node.judged(frame, program)
    assert consistent(run.verdict, verdict, unchanged=run.packet == frame)
    if verdict is Verdict.ARP_ANSWERED:
        assert not hostile.is_group(run.packet[:6])
        assert run.packet[6:12] == trial.UPLINK
        assert run.packet[:6] == frame[22:28], "to whom the question names as sender"


@pytest.mark.parametrize("program", ["uplink_ingress", "pod_ingress"])
@HUNT
@given(frame=hostile.tagged())
def test_a_tag_inside_the_frame_is_nobodys_here(node: Trial, program: str, frame: bytes) -> None:
    """The kernel takes the outer tag off before the hook; what is left is another's."""
    run, verdict = node.judged(frame, program)
    assert (run.verdict, verdict) == (NEXT, Verdict.PASS)
    assert run.packet == frame
