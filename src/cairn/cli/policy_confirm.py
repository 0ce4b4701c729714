"""`cairn policy confirm|revert NAME`: a policy on trial, kept or taken back.

NAME  ->  the policy without the annotations of its trial, or what stood there before
"""

import argparse
import asyncio
from collections.abc import Callable

from cairn.cli.cluster_objects import connect, fetch
from cairn.cli.policy_options import FAILED, OK, complain
from cairn.cli.policy_watch import Tried, read_trial, revert
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.policy_trial import confirm
from cairn.kube.metadata import Object, key_of
from cairn.kube.resource import POLICY_KINDS

BY_KIND = {resource.kind: resource for resource in POLICY_KINDS}
Run = Callable[[argparse.Namespace], int]


def add_confirm(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> Run:
    """Add the command that keeps what is on trial; return what runs it."""
    return _add(actions, "confirm", "Keep a policy that is on trial.")


def add_revert(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> Run:
    """Add the command that takes back what is on trial; return what runs it."""
    return _add(actions, "revert", "Take back a policy that is on trial, at once.")


def _add(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]", word: str, text: str
) -> Run:
    made = actions.add_parser(word, help=text, description=text)
    made.add_argument("name", metavar="NAME")
    made.add_argument("-n", "--namespace", help="of the policy, if several have this name")
    made.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
    return lambda options: asyncio.run(_end(options))


async def _end(options: argparse.Namespace) -> int:
    command = f"policy {options.action}"
    async with connect(options.kubeconfig) as client:
        objects = [
            obj
            for obj in await fetch(client, POLICY_KINDS)
            if key_of(obj).name == options.name
            and options.namespace in (None, key_of(obj).namespace)
            and read_trial(obj) is not None
        ]
        if not objects:
            complain(command, f"no policy {options.name} is on trial: cairn policy get shows all")
            return FAILED
        if len(objects) > 1:
            where = ", ".join(f"{obj['kind']} {key_of(obj)}" for obj in objects)
            complain(command, f"several are on trial ({where}): say which with --namespace")
            return FAILED
        one = Tried(BY_KIND[objects[0]["kind"]], key_of(objects[0]))
        if options.action == "revert":
            await revert(client, [one])
            return OK
        return await _keep(client, one, objects[0])


async def _keep(client: Client, one: Tried, obj: Object) -> int:
    try:
        await confirm(client, one.resource, obj)
    except ApiError as error:
        if error.status not in (404, 409):
            raise
        complain("policy confirm", f"{one} has changed in this moment: {error}; try again")
        return FAILED
    print(f"{one} is kept")
    return OK
