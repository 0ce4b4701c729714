"""Takes back policies whose trial has ended without a word of confirmation.

    policies with cairn.io/try-until  ->  what stood there before, and an Event that says so

The way back is in the object, so whoever leads takes it: it does not matter whether the command
that tried the policy still runs, nor that another operator led when it did.

Invariants  A trial that ended while nobody led is taken back at once.
            A policy whose annotations cannot be read stays, and an Event says what to do.
Cost        policies without a trial are seen and not kept
"""

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

from cairn.drive.event_recorder import EventRecorder
from cairn.drive.informer import Informer
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.policy_trial import current, take_back
from cairn.kube.metadata import Key
from cairn.kube.policy.trial import BadTrial, Trial, trial_of
from cairn.kube.resource import POLICY_KINDS, Resource

RETRY_S = 1.0
SHORTEST_S = 0.05

log = logging.getLogger(__name__)

Where = tuple[Resource, Key]
Raw = dict[str, Any]


class PolicyTrials:
    """Follows every policy on trial; `run` works until cancelled."""

    def __init__(self, client: Client, recorder: EventRecorder) -> None:
        self._client = client
        self._recorder = recorder
        self._trials: dict[Where, Trial] = {}
        self._told: set[tuple[Where, str]] = set()
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Follow the policies, and keep time."""
        async with asyncio.TaskGroup() as group:
            for resource in POLICY_KINDS:
                group.create_task(self._follow(resource))
            group.create_task(self._keep_time())

    async def _follow(self, resource: Resource) -> None:
        def on_change(key: Key, _old: Raw | None, new: Raw | None) -> None:
            self._take((resource, key), new)

        informer = Informer(self._client, resource, on_change=on_change, keep=False, optional=True)
        await informer.run()

    def _take(self, where: Where, new: Raw | None) -> None:
        trial = None
        try:
            trial = trial_of(new) if new is not None else None
        except BadTrial as error:
            if new is not None and (where, str(error)) not in self._told:
                self._told.add((where, str(error)))
                self._recorder.record(new, "TrialNotRead", str(error), warning=True)
        if trial is not None:
            self._trials[where] = trial
            self._changed.set()
        elif self._trials.pop(where, None) is not None:
            self._changed.set()

    async def _keep_time(self) -> None:
        while True:
            self._changed.clear()
            now = datetime.now(UTC)
            for where in [w for w, trial in self._trials.items() if trial.until <= now]:
                await self._end(where)
            soonest = min((t.until for t in self._trials.values()), default=None)
            wait_s = None
            if soonest is not None:
                wait_s = max(SHORTEST_S, (soonest - datetime.now(UTC)).total_seconds())
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def _end(self, where: Where) -> None:
        """Take a policy back, as it is now; what fails is tried again."""
        resource, key = where
        try:
            obj = await current(self._client, resource, key)
            trial = trial_of(obj) if obj is not None else None
            if obj is None or trial is None or trial.until > datetime.now(UTC):
                self._trials.pop(where, None)
                return
            await take_back(self._client, resource, obj, trial)
        except BadTrial:
            self._trials.pop(where, None)
            return
        except ApiError as error:
            if error.status != 409:
                log.warning(
                    "%s %s: trial ended, but not taken back: %s; trying again",
                    resource.kind, key, error.message,
                )  # fmt: skip
            await asyncio.sleep(RETRY_S)
            return
        self._trials.pop(where, None)
        self._tell(resource, key, obj, trial)

    def _tell(self, resource: Resource, key: Key, obj: Raw, trial: Trial) -> None:
        became = "deleted, as there was none before" if trial.previous is None else "as before"
        text = (
            f"the trial ended at {trial.until:%Y-%m-%dT%H:%M:%SZ} without a confirmation: the "
            f"policy is {became}; to keep one: cairn policy confirm {key.name}"
        )
        log.info("%s %s: %s", resource.kind, key, text)
        self._recorder.record(obj, "TrialEnded", text, warning=True)
