"""Runs a container's probes and keeps its view up to date.

ContainerView, probes  ->  view.ready, view.started, kills of the unhealthy
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from cairn.kube.metadata import Object
from cairn.lab.kubelet import exec_process, runtime
from cairn.lab.kubelet.container_view import ContainerView
from cairn.lab.kubelet.probe import Kind, ProbeMachine, timing_of
from cairn.lab.kubelet.probe_check import Verdict, check
from cairn.lab.kubelet.recorder import Recorder

EARLY_S = 3.0
"""So long after its start a container may be late without being told of, or counted."""
EARLY_PERIOD_S = 0.2
"""How often it is asked during that time: a pod is ready soon after its program is."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The container that is probed."""

    pod: Object
    """Its pod."""
    view: ContainerView
    """What is known of it; `running` is set."""
    address: str
    """The pod's address."""
    grace_s: float
    """How long it has to end when a probe condemns it."""


class Prober:
    """The probes of one run of one container."""

    def __init__(
        self, subject: Subject, recorder: Recorder, changed: Callable[[], None], *, adopted: bool
    ) -> None:
        self._subject = subject
        self._recorder = recorder
        self._changed = changed
        view = subject.view
        if not adopted:
            view.started = "startupProbe" not in view.spec
            view.ready = view.started and "readinessProbe" not in view.spec

    async def run(self) -> None:
        """Probe until cancelled, or until the container is condemned."""
        view = self._subject.view
        if not view.started and not await self._follow(Kind.STARTUP):
            return
        view.started = True
        view.ready = view.ready or "readinessProbe" not in view.spec
        self._changed()
        kinds = [kind for kind in (Kind.LIVENESS, Kind.READINESS) if f"{kind}Probe" in view.spec]
        await asyncio.gather(*(self._follow(kind) for kind in kinds))

    async def _follow(self, kind: Kind) -> bool:
        """Follow one probe; returns True once a startup probe holds, False once one condemns."""
        view = self._subject.view
        probe: Object = view.spec[f"{kind}Probe"]
        healthy = kind is Kind.LIVENESS or (kind is Kind.READINESS and view.ready)
        machine = ProbeMachine(kind, timing_of(probe), time.monotonic(), healthy=healthy)
        early_until = machine.due + EARLY_S if not healthy and "exec" not in probe else 0.0
        while True:
            await asyncio.sleep(max(0.0, machine.due - time.monotonic()))
            verdict = await self._check(probe, machine.timing.timeout_s)
            early_until = 0.0 if verdict.ok else early_until
            if time.monotonic() < early_until:
                machine.due = time.monotonic() + EARLY_PERIOD_S
                continue
            if not verdict.ok:
                self._tell(f"{kind.capitalize()} probe failed: {verdict.message}")
            changed = machine.result(time.monotonic(), ok=verdict.ok)
            if kind is Kind.READINESS and changed:
                view.ready = machine.healthy
                self._changed()
            elif kind is Kind.STARTUP and machine.healthy:
                return True
            elif kind is not Kind.READINESS and changed and not machine.healthy:
                await self._condemn(kind)
                return False

    async def _check(self, probe: Object, timeout_s: float) -> Verdict:
        running = self._subject.view.running
        if running is None:
            return Verdict(False, "the container is not running")

        async def run(argv: list[str], limit_s: float) -> tuple[int, str]:
            try:
                return await exec_process.run(running, argv, limit_s)
            except exec_process.NotRunning as error:
                return 1, str(error)

        spec = self._subject.view.spec
        return await check(probe, spec, self._subject.address, timeout_s, run)

    async def _condemn(self, kind: Kind) -> None:
        view = self._subject.view
        self._recorder.normal(
            self._subject.pod,
            "Killing",
            f"Container {view.name} failed {kind} probe, will be restarted",
            container=view.name,
        )
        running = view.running
        if running is None:
            return
        runtime.terminate(running)
        try:
            async with asyncio.timeout(self._subject.grace_s):
                await runtime.wait(running)
        except TimeoutError:
            await runtime.kill(running)

    def _tell(self, message: str) -> None:
        view = self._subject.view
        self._recorder.warning(self._subject.pod, "Unhealthy", message, container=view.name)
