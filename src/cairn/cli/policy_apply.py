"""`cairn policy apply -f FILE… [--try 5m]`: policies in force, for good or on trial.

    files  ->  the API server, with the way back in the objects; the operator takes it at the time

Invariants  What the terminal does is a comfort: the way back works without it.
            Exit status 0: in force for good (with --detach: on trial); 1: taken back, or refused.
"""

import argparse
import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from cairn.cli.cluster_objects import POLICY_INPUTS, connect, fetch
from cairn.cli.durations import duration
from cairn.cli.manifests import BadManifest, read_manifests
from cairn.cli.policy_options import FAILED, OK, complain
from cairn.cli.policy_watch import Tried, Watch, revert
from cairn.diagnose.policy.plan import Plan, plan
from cairn.diagnose.policy.world import World
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.policy_trial import current, put
from cairn.kube.metadata import Object, key_of
from cairn.kube.policy.trial import BadTrial
from cairn.kube.resource import POLICY_KINDS

BY_KIND = {resource.kind: resource for resource in POLICY_KINDS}
SHORTEST, LONGEST = timedelta(seconds=2), timedelta(days=7)
COMMAND = "policy apply"
ENFORCED = "cairn.io/Enforced"
"""Condition that says whether the nodes' agents enforce a policy."""
TOLD_BY = ("cilium.io", "policy.networking.k8s.io")
"""Groups whose policies have conditions; a NetworkPolicy has no status."""
ENFORCED_S, LOOK_S = 15.0, 0.2


def add(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> Callable[[argparse.Namespace], int]:
    """Add the command's arguments; return what runs it."""
    text = "Apply policies; with --try, they are taken back unless confirmed in time."
    made = actions.add_parser("apply", help=text, description=text)
    made.add_argument("-f", "--file", action="append", required=True, metavar="FILE")
    made.add_argument(
        "--try", dest="trial", type=trial_time, metavar="5m", help="how long to try them"
    )
    made.add_argument(
        "--detach", action="store_true", help="return at once: the operator keeps the time"
    )
    made.add_argument("-n", "--namespace", default="default", help="of objects that name none")
    made.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
    return lambda options: asyncio.run(_apply(options))


def trial_time(text: str) -> timedelta:
    """Return how long a trial is; for argparse."""
    found = duration(text)
    if not SHORTEST <= found <= LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 2s and 7d")
    return found


async def _apply(options: argparse.Namespace) -> int:
    objects = read_manifests(options.file, options.namespace).objects
    for obj in objects:
        if obj["kind"] not in BY_KIND:
            raise BadManifest(f"{obj['kind']} {key_of(obj)} is no policy: kubectl apply -f")
    async with connect(options.kubeconfig) as client:
        world = World.of(await fetch(client, POLICY_INPUTS))
        found = plan(world, world.changed(objects))
        if _refused(found):
            return FAILED
        try:
            return await _try(client, options, objects)
        except asyncio.CancelledError:
            print()
            await revert(client, [Tried(BY_KIND[obj["kind"]], key_of(obj)) for obj in objects])
            return FAILED


async def _try(client: Client, options: argparse.Namespace, objects: Sequence[Object]) -> int:
    until = datetime.now(UTC) + options.trial if options.trial else None
    tried = await _put_all(client, objects, until)
    if tried is None:
        return FAILED
    if until is None:
        return OK if all([await _enforced(client, one) for one in tried]) else FAILED
    _announce(tried, until)
    return OK if options.detach else await Watch(client, tried, until).run()


async def _enforced(client: Client, one: Tried) -> bool:
    """Wait until the agents say that they enforce a policy, and tell what became of it."""
    if not one.resource.group.startswith(TOLD_BY):
        print(f"{one} is applied")
        return True
    said = ""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(ENFORCED_S):
            while True:
                obj = await current(client, one.resource, one.key)
                state, said = _condition(obj)
                if state == "True":
                    print(f"{one} is in force: {said}")
                    return True
                await asyncio.sleep(LOOK_S)
    why = said or "no agent has said that it enforces it"
    complain(COMMAND, f"{one} is stored, but not in force after {ENFORCED_S:.0f} s: {why}")
    return False


def _condition(obj: Object | None) -> tuple[str, str]:
    """Return status and message of what the agents say of the policy as it is now."""
    if obj is None:
        return "", "it has been deleted"
    generation = (obj.get("metadata") or {}).get("generation") or 0
    for condition in (obj.get("status") or {}).get("conditions") or ():
        current_one = (condition.get("observedGeneration") or 0) >= generation
        if condition.get("type") == ENFORCED and current_one:
            return str(condition.get("status")), str(condition.get("message") or "")
    return "", ""


def _refused(found: Plan) -> bool:
    """Say what a change would cut off; return whether some policy cannot be enforced."""
    for change in found.cut_off:
        complain(COMMAND, f"{change.sender} loses {change.receiver} ({change.at}): {change.rule}")
    for policy, reason in found.invalid.items():
        complain(COMMAND, f"{policy} is not applied, for it would not be enforced: {reason}")
    return bool(found.invalid)


async def _put_all(
    client: Client, objects: Sequence[Object], until: datetime | None
) -> list[Tried] | None:
    """Apply all; what was put on trial before one failed is taken back, and None returned."""
    tried: list[Tried] = []
    for obj in objects:
        one = Tried(BY_KIND[obj["kind"]], key_of(obj))
        try:
            stored = await put(client, one.resource, obj, until)
        except (ApiError, BadTrial) as error:
            complain(COMMAND, f"{one}: {error}")
            if until is not None:
                await revert(client, tried)
            return None
        tried.append(Tried(one.resource, one.key, stored.get("spec") or {}))
    return tried


def _announce(tried: Sequence[Tried], until: datetime) -> None:
    for one in tried:
        namespace = f" -n {one.key.namespace}" if one.key.namespace else ""
        print(
            f"{one} is on trial until {until:%H:%M:%S} UTC; "
            f"to keep it: cairn policy confirm {one.key.name}{namespace}"
        )
