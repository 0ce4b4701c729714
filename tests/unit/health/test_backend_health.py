"""The life of a backend in the eyes of its node, on a virtual clock."""

from collections.abc import Callable

import pytest

from cairn.health.backend import (
    BackendHealth,
    Begin,
    Ejected,
    Health,
    HealthEvent,
    Passed,
    Restored,
)
from cairn.health.check import Check, HttpRequest, Result
from cairn.machine import VirtualClock

TCP = Check()
HTTP = Check(HttpRequest("/healthz"), interval_s=1.0)
Answer = Callable[[float, bool], tuple[float, bool, bool]]
"""Seconds until the answer, whether it is good, whether it is a refusal."""


def serves(_now: float, _whole: bool) -> tuple[float, bool, bool]:
    return (0.001, True, False)


def refuses(_now: float, _whole: bool) -> tuple[float, bool, bool]:
    return (0.001, False, True)


def hangs(_now: float, whole: bool) -> tuple[float, bool, bool]:
    """A stopped process: its kernel takes connections, nobody answers requests."""
    return (1.0, False, False) if whole else (0.001, True, False)


def is_cut_off(_now: float, _whole: bool) -> tuple[float, bool, bool]:
    return (1.0, False, False)


class Bed:
    """A machine, its clock, and a backend that answers as told."""

    def __init__(self, check: Check, **options: float) -> None:
        self.clock = VirtualClock()
        self.machine = BackendHealth(check, self.clock.now, **options)  # type: ignore[arg-type]
        self.answer: Answer = serves
        self.begun: list[tuple[float, bool]] = []
        self.seen: list[tuple[float, HealthEvent]] = []
        self.pending: list[tuple[float, Result]] = []
        self.most_pending = 0

    def run(self, seconds: float) -> None:
        """Let time pass, from one thing that happens to the next."""
        end = self.clock.now + seconds
        while True:
            self._drain()
            times = [when for when, _ in self.pending]
            if self.machine.deadline is not None:
                times.append(self.machine.deadline)
            if not times or min(times) > end:
                self.clock.advance(end - self.clock.now)
                return
            self.clock.advance(max(0.0, min(times) - self.clock.now))
            now = self.clock.now
            due = [item for item in self.pending if item[0] <= now]
            self.pending = [item for item in self.pending if item[0] > now]
            for _, result in due:
                self.machine.receive(result, now)
            self.machine.expire(now)

    def _drain(self) -> None:
        for event in self.machine.events():
            if isinstance(event, Begin):
                self.begun.append((event.began, event.whole))
                delay_s, ok, refused = self.answer(event.began, event.whole)
                reason = "" if ok else "refused" if refused else "no answer"
                result = Result(event.began, ok, event.whole, reason, refused)
                self.pending.append((event.began + delay_s, result))
                self.most_pending = max(self.most_pending, len(self.pending))
            else:
                self.seen.append((self.clock.now, event))

    def kinds(self) -> list[type[HealthEvent]]:
        return [type(event) for _, event in self.seen]


@pytest.mark.parametrize("check", [TCP, HTTP])
def test_a_backend_that_serves_passes_once_and_is_asked_each_interval(check: Check) -> None:
    bed = Bed(check)
    bed.run(20.4)
    assert bed.kinds() == [Passed]
    assert bed.machine.health is Health.HEALTHY
    whole = [now for now, is_whole in bed.begun if is_whole]
    assert len(whole) == pytest.approx(20.4 / check.interval_s, abs=2)
    light = len(bed.begun) - len(whole)
    assert light == (0 if check is TCP else pytest.approx(20, abs=2))
    assert bed.most_pending == 1


# (how it fails, check, within how long it is ejected whenever that happens)
@pytest.mark.parametrize(
    ("answer", "check", "within_s"),
    [
        (refuses, TCP, 0.75),
        (refuses, HTTP, 0.75),
        (hangs, HTTP, 2.6),
        (is_cut_off, TCP, 2.1),
        (is_cut_off, HTTP, 2.1),
        (hangs, Check(HttpRequest("/"), interval_s=0.2, failures=1), 1.3),
    ],
)
@pytest.mark.parametrize("when_s", [5.0, 5.2, 5.4, 5.6, 5.8])
def test_how_soon_a_failed_backend_is_ejected(
    answer: Answer, check: Check, within_s: float, when_s: float
) -> None:
    bed = Bed(check)
    bed.run(when_s)
    failed_at = bed.clock.now
    bed.answer = answer
    bed.run(10)
    assert bed.kinds() == [Passed, Ejected]
    ejected_at, event = bed.seen[1]
    assert ejected_at - failed_at <= within_s
    assert event == Ejected("refused" if answer is refuses else "no answer", was_well=True)
    assert bed.most_pending <= check.failures
    bed.answer = serves
    bed.run(2.5)
    assert bed.kinds() == [Passed, Ejected, Restored]
    assert bed.machine.health is Health.HEALTHY


def test_a_hanging_backend_takes_connections_all_the_while_and_is_not_restored_by_that() -> None:
    bed = Bed(HTTP)
    bed.run(3)
    bed.answer = hangs
    bed.run(60)
    assert bed.kinds() == [Passed, Ejected]
    assert bed.most_pending <= HTTP.failures


def test_failures_short_of_the_threshold_change_nothing() -> None:
    bed = Bed(TCP)
    bed.run(3)
    for _ in range(20):
        failed = 0

        def twice(now: float, whole: bool) -> tuple[float, bool, bool]:
            nonlocal failed
            failed += 1
            return refuses(now, whole) if failed <= 2 else serves(now, whole)

        bed.answer = twice
        bed.run(2)
    assert bed.kinds() == [Passed]


def test_a_slow_answer_is_doubted_and_believed_when_it_comes() -> None:
    bed = Bed(HTTP)
    bed.answer = lambda _now, whole: (0.6 if whole else 0.001, True, False)
    bed.run(30)
    assert bed.kinds() == [Passed]
    assert 1 < bed.most_pending <= 3


def test_an_old_failure_after_a_newer_success_is_no_news() -> None:
    machine = BackendHealth(Check(failures=3), 0.0)
    machine.expire(0.0)
    machine.expire(0.25)
    assert machine.events() == [Begin(0.0, whole=True), Begin(0.25, whole=True)]
    machine.receive(Result(0.25, ok=True, whole=True), 0.3)
    for _ in range(5):
        machine.receive(Result(0.0, ok=False, whole=True, reason="no answer"), 1.0)
    assert machine.health is Health.HEALTHY
    assert machine.events() == [Passed()]


def test_a_process_that_still_starts_is_ejected_without_having_been_well() -> None:
    bed = Bed(TCP)
    bed.answer = refuses
    bed.run(5)
    bed.answer = serves
    bed.run(1)
    assert next(event for _, event in bed.seen) == Ejected("refused", was_well=False)
    assert bed.kinds() == [Ejected, Restored]


def test_flapping_is_damped_and_forgiven() -> None:
    bed = Bed(TCP)
    bed.run(2)
    outages = []
    for _ in range(5):
        bed.answer = refuses
        bed.run(2)
        bed.answer = serves
        begun = bed.clock.now
        bed.run(40)
        assert bed.kinds()[-1] is Restored
        outages.append(bed.seen[-1][0] - begun)
    holds = [0, 1, 2, 4, 8]
    assert all(hold <= got <= hold + 1.1 for hold, got in zip(holds, outages, strict=True))
    bed.run(61)
    bed.answer = refuses
    bed.run(2)
    bed.answer = serves
    begun = bed.clock.now
    bed.run(5)
    assert bed.seen[-1][0] - begun < 0.6


def test_what_was_ejected_before_a_restart_stays_so_until_it_is_seen_well() -> None:
    machine = BackendHealth(TCP, 0.0, ejected="connection refused")
    assert (machine.health, machine.reason) == (Health.EJECTED, "connection refused")
    machine.expire(0.0)
    assert machine.events() == [Begin(0.0, whole=True)]
    machine.receive(Result(0.0, ok=True, whole=True), 0.01)
    assert machine.events() == [Restored(0.01)]


def test_a_hint_from_elsewhere_has_everything_checked_now() -> None:
    bed = Bed(HTTP)
    bed.run(3)
    begun = len(bed.begun)
    bed.machine.hasten(bed.clock.now)
    bed.run(0.01)
    assert bed.begun[begun:] == [(bed.begun[begun][0], True)]


def test_the_phase_spreads_checks_that_began_together() -> None:
    beds = [Bed(TCP, phase=phase) for phase in (0.0, 0.5, 1.0)]
    for bed in beds:
        bed.run(10)
    assert len({round(bed.begun[-1][0], 2) for bed in beds}) == 3
