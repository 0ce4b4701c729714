"""A round of probes: how often it asks, when it ends, whom it believes."""

from cairn.ethernet.claim import Claim, claim_of
from cairn.ethernet.probing import BURST, PROBES, Probing
from cairn.machine import VirtualClock
from cairn.net import Address, parse_address

OURS, STRANGER = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x63"
A, B = parse_address("192.168.1.100"), parse_address("fd00::100")


def run(probing: Probing, clock: VirtualClock, answers: dict[int, Claim]) -> list[bytes]:
    """Run to the end; `answers` come after so many frames were sent."""
    sent: list[bytes] = []
    while not probing.done(clock.now):
        probing.expire(clock.now)
        for frame in probing.output():
            sent.append(frame)
            if len(sent) in answers:
                probing.receive(answers[len(sent)])
        if not probing.done(clock.now):
            clock.advance(max(0.0, probing.deadline - clock.now))
    return sent


def test_silence_is_found_in_a_quarter_of_a_second() -> None:
    clock = VirtualClock()
    start = clock.now
    probing = Probing((A, B), OURS, start)
    sent = run(probing, clock, {})
    assert len(sent) == 2 * PROBES
    assert all(claim_of(frame) is None for frame in sent)
    assert probing.found == {}
    assert 0.15 <= clock.now - start <= 0.25


def test_who_has_answered_is_not_asked_again_and_all_answers_end_the_round() -> None:
    clock = VirtualClock()
    probing = Probing((A,), OURS, clock.now)
    assert len(run(probing, clock, {1: Claim(A, STRANGER)})) == 1
    assert probing.found == {A: STRANGER}


def test_claims_for_others_and_by_ourselves_mean_nothing() -> None:
    clock = VirtualClock()
    probing = Probing((A,), OURS, clock.now)
    sent = run(probing, clock, {1: Claim(B, STRANGER), 2: Claim(A, OURS)})
    assert len(sent) == PROBES
    assert probing.found == {}


def test_many_addresses_leave_in_bursts() -> None:
    clock = VirtualClock()
    start = clock.now
    addresses: list[Address] = [parse_address(f"10.0.{n // 250}.{n % 250}") for n in range(1000)]
    probing = Probing(addresses, OURS, start)
    largest, total = 0, 0
    while not probing.done(clock.now):
        probing.expire(clock.now)
        out = probing.output()
        largest, total = max(largest, len(out)), total + len(out)
        if not probing.done(clock.now):
            clock.advance(max(0.0, probing.deadline - clock.now))
    assert largest <= BURST
    assert total == PROBES * len(addresses)
    assert clock.now - start < 0.5


def test_a_round_about_nothing_is_over_at_once() -> None:
    assert Probing((), OURS, 5.0).done(5.0)
