"""Which containers run when, what the status says, and when probes change their mind."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cairn.lab.kubelet.backoff import Backoff
from cairn.lab.kubelet.container_view import ContainerView, decide, is_finished, views_of
from cairn.lab.kubelet.pod_status import PodState, pod_status
from cairn.lab.kubelet.probe import Kind, ProbeMachine, Timing
from cairn.lab.kubelet.runtime import Exit, Running
from cairn.linux.process import Identity

T0 = "2026-01-01T00:00:00Z"
RUNNING = Running(Identity(1, 1), Identity(2, 2), 0, "2026-01-01T00:00:01.5Z", "", "", "")
HOST = ("192.168.1.10", "fd00:1::a")
OWN = ("10.244.1.5", "fd00:10:244:1::5")
STATE = PodState(HOST, OWN, True, T0, T0)


def pod(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": [{"name": "a"}], **spec}}


def run(view: ContainerView, *, ready: bool = True) -> None:
    view.running, view.exit, view.was_started = RUNNING, None, True
    view.ready = view.started = ready
    view.waiting_reason = ""


def end(view: ContainerView, code: int) -> None:
    view.running, view.exit, view.was_started = None, Exit(code, 0, T0), True
    view.ready = view.started = False
    view.waiting_reason = ""


def names(views: list[ContainerView], policy: str = "Always", now: float = 0.0) -> list[str]:
    return [view.name for view in decide(views, policy, now).start]


def test_init_containers_run_one_after_the_other() -> None:
    views = views_of(pod(initContainers=[{"name": "i"}, {"name": "j"}]))
    assert names(views) == ["i"]
    run(views[0])
    assert names(views) == []
    end(views[0], 0)
    assert names(views) == ["j"]
    end(views[1], 0)
    assert names(views) == ["a"]
    run(views[2])
    assert names(views) == []


def test_sidecar_lets_the_next_start_once_it_has_started() -> None:
    views = views_of(pod(initContainers=[{"name": "s", "restartPolicy": "Always"}]))
    run(views[0], ready=False)
    assert names(views) == []
    run(views[0])
    assert names(views) == ["a"]
    end(views[1], 0)
    assert is_finished(views, "Never")


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policy(policy: str, code: int, again: bool) -> None:
    views = views_of(pod())
    end(views[0], code)
    assert (names(views, policy) == ["a"]) is again
    assert is_finished(views, policy) is not again


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [("Never", 0, "Succeeded"), ("Never", 3, "Failed"), ("Always", 3, "Running")],
)
def test_phase_after_the_end(policy: str, code: int, phase: str) -> None:
    views = views_of(pod())
    end(views[0], code)
    assert pod_status(pod(restartPolicy=policy), views, STATE)["phase"] == phase


def test_failed_init_container_fails_the_pod() -> None:
    given_pod = pod(initContainers=[{"name": "i"}], restartPolicy="Never")
    views = views_of(given_pod)
    end(views[0], 1)
    assert names(views, "Never") == []
    assert pod_status(given_pod, views, STATE)["phase"] == "Failed"


def test_pause_is_kept_and_told() -> None:
    views = views_of(pod())
    end(views[0], 1)
    views[0].backoff.failed(100.0)
    views[0].backoff.failed(100.0)
    decision = decide(views, "Always", 104.0)
    assert (decision.start, decision.look_again_s) == ((), 6.0)
    assert names(views, "Always", 110.0) == ["a"]


def test_status_of_a_ready_pod() -> None:
    views = views_of(pod())
    status = pod_status(pod(), views, STATE)
    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    run(views[0])
    status = pod_status(pod(), views, STATE)
    conditions = {c["type"]: c["status"] for c in status["conditions"]}
    assert status["phase"] == "Running"
    assert conditions["Ready"] == conditions["ContainersReady"] == "True"
    assert (status["podIP"], status["hostIP"]) == (OWN[0], HOST[0])
    assert [entry["ip"] for entry in status["podIPs"]] == list(OWN)
    assert [entry["ip"] for entry in status["hostIPs"]] == list(HOST)
    started = status["containerStatuses"][0]["state"]["running"]["startedAt"]
    assert started == "2026-01-01T00:00:01Z"


def test_condition_times_stay_while_the_condition_stays() -> None:
    views = views_of(pod())
    run(views[0])
    first = pod_status(pod(), views, STATE)
    later = PodState(HOST, OWN, True, T0, "2026-02-02T00:00:00Z")
    second = pod_status({**pod(), "status": first}, views, later)
    assert second == first
    views[0].ready = False
    third = pod_status({**pod(), "status": first}, views, later)
    changed = {c["type"]: c["lastTransitionTime"] for c in third["conditions"]}
    assert changed["Ready"] == "2026-02-02T00:00:00Z"
    assert changed["PodScheduled"] == T0


def test_backoff_doubles_to_its_limit_and_forgets_after_a_calm_run() -> None:
    backoff, pauses = Backoff(), []
    for _ in range(8):
        backoff.failed(0.0)
        pauses.append(backoff.waits(0.0))
    assert pauses == [0, 10, 20, 40, 80, 160, 300, 300]
    backoff.failed(0.0, ran_s=601.0)
    assert backoff.waits(0.0) == 0


TIMING = Timing(3.0, 10.0, 1.0, 2, 3)


def test_readiness_needs_its_thresholds() -> None:
    machine = ProbeMachine(Kind.READINESS, TIMING, 100.0, healthy=False)
    assert machine.due == 103.0
    results = [True, False, True, True, False, False, True, False, False, False]
    verdicts = []
    for at, ok in enumerate(results):
        machine.result(103.0 + 10 * at, ok=ok)
        verdicts.append(machine.healthy)
    assert verdicts == [False, False, False, True, True, True, True, True, True, False]
    assert machine.due == 103.0 + 90 + 10


def test_liveness_condemns_once_per_threshold() -> None:
    machine = ProbeMachine(Kind.LIVENESS, TIMING, 0.0, healthy=True)
    assert [machine.result(0.0, ok=False) for _ in range(6)] == [False, False, True] * 2


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4), st.integers(1, 4))
def test_readiness_is_the_last_streak_that_was_long_enough(
    results: list[bool], successes: int, failures: int
) -> None:
    machine = ProbeMachine(Kind.READINESS, Timing(0, 1, 1, successes, failures), 0.0, healthy=False)
    expected, streak, last = False, 0, None
    for ok in results:
        streak = streak + 1 if ok == last else 1
        last = ok
        if streak >= (successes if ok else failures):
            expected = ok
        machine.result(0.0, ok=ok)
        assert machine.healthy is expected
