"""Policies on trial, watched from a terminal: time left, what they deny, how it ended.

    objects, agents' counters  ->  one line that is renewed

Invariants  The objects say how it ended: this only looks.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cairn.cli.agents import NoAgent
from cairn.cli.policy_options import FAILED, OK, complain
from cairn.cli.policy_used import ask_used
from cairn.diagnose.policy.listing import Used
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.policy_trial import current, take_back
from cairn.kube.metadata import Key, Object
from cairn.kube.policy.rule import PolicyRef
from cairn.kube.policy.trial import BadTrial, Trial, trial_of
from cairn.kube.resource import Resource

LOOK_S = 1.0
COUNT_S = 5.0
"""How often agents are asked for what was denied."""
PATIENCE_S = 30.0
"""How long after its end a trial may still stand before it is taken back from here."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One policy that was applied."""

    resource: Resource
    """Its kind."""
    key: Key
    """Namespace and name."""
    spec: Mapping[str, Any] = field(default_factory=dict)
    """As it was stored."""

    @property
    def ref(self) -> PolicyRef:
        """As rules name it."""
        return PolicyRef(self.resource.kind, *self.key)

    def __str__(self) -> str:
        return str(self.ref)


def read_trial(obj: Object | None) -> Trial | None:
    """Return the trial an object is on; one that cannot be read is none."""
    try:
        return trial_of(obj) if obj is not None else None
    except BadTrial:
        return None


async def revert(client: Client, tried: Sequence[Tried]) -> None:
    """Take back what is still on trial, and say so."""
    for one in tried:
        try:
            obj = await current(client, one.resource, one.key)
            trial = read_trial(obj)
            if obj is not None and trial is not None:
                await take_back(client, one.resource, obj, trial)
                print(f"{one} is taken back")
        except ApiError as error:
            complain("policy", f"{one}: not taken back from here ({error}): the operator does it")


class Watch:
    """One trial, from a terminal."""

    def __init__(self, client: Client, tried: Sequence[Tried], until: datetime) -> None:
        self._client = client
        self._tried = tried
        self._until = until
        self._denied = "denied: not said yet"

    async def run(self) -> int:
        """Show the trial until it ends; return 0 if all was kept."""
        counting = asyncio.create_task(self._count())
        try:
            return await self._look()
        finally:
            counting.cancel()

    async def _look(self) -> int:
        while True:
            objects = [await current(self._client, t.resource, t.key) for t in self._tried]
            left_s = (self._until - datetime.now(UTC)).total_seconds()
            if not any(read_trial(obj) for obj in objects):
                self._clear()
                return self._ended(objects)
            if left_s < -PATIENCE_S:
                self._clear()
                complain("policy apply", "the operator did not end the trial: it is ended here")
                await revert(self._client, self._tried)
                return FAILED
            self._show(f"{max(0, round(left_s))} s left; {self._denied}")
            await asyncio.sleep(LOOK_S)

    def _ended(self, objects: Sequence[Object | None]) -> int:
        kept = [
            obj is not None and (obj.get("spec") or {}) == one.spec
            for one, obj in zip(self._tried, objects, strict=True)
        ]
        for one, stays in zip(self._tried, kept, strict=True):
            print(f"{one} is {'kept' if stays else 'taken back'}")
        return OK if all(kept) else FAILED

    async def _count(self) -> None:
        """Keep the sentence about what is denied up to date."""
        first: Mapping[PolicyRef, int] | None = None
        while True:
            try:
                used, _ = await ask_used(self._client)
            except (ApiError, NoAgent):
                used = None
            if used is None:
                self._denied = "denied: no agent says"
            else:
                now = self._sums(used)
                first = first if first is not None else now
                total = sum(now[ref] - first.get(ref, 0) for ref in now)
                self._denied = f"{max(0, total)} packets denied by it"
            await asyncio.sleep(COUNT_S)

    def _sums(self, used: Used) -> dict[PolicyRef, int]:
        wanted = {one.ref: 0 for one in self._tried}
        for rule, uses in used.items():
            if rule.policy in wanted:
                wanted[rule.policy] += uses.denied
        return wanted

    @staticmethod
    def _show(text: str) -> None:
        if sys.stdout.isatty():
            print(f"\r\033[K{text} (Ctrl-C takes it back at once)", end="", flush=True)

    @staticmethod
    def _clear() -> None:
        if sys.stdout.isatty():
            print("\r\033[K", end="", flush=True)
