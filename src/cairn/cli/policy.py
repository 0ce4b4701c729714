"""`cairn policy COMMAND`: what policies do, before and while they do it.

    arguments, a cluster's objects or files  ->  diagnose.policy  ->  table | JSON | YAML

Invariants  Exit status 0: it holds (for trace: the connection passes; for plan and replay: nothing
            changes); 1: it does not; 2: wrong usage.
"""

import argparse
import importlib
from collections.abc import Callable

from cairn.cli.manifests import BadManifest
from cairn.cli.policy_options import FAILED, USAGE, complain
from cairn.diagnose.policy.ends import NoSuchEnd
from cairn.diagnose.policy.layer7 import BadRequest
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess

Run = Callable[[argparse.Namespace], int]
COMMANDS = {
    "get": ("cairn.cli.policy_get", "add"),
    "used": ("cairn.cli.policy_used", "add"),
    "trace": ("cairn.cli.policy_trace", "add"),
    "plan": ("cairn.cli.policy_plan", "add"),
    "replay": ("cairn.cli.policy_replay", "add"),
    "suggest": ("cairn.cli.policy_suggest", "add"),
    "apply": ("cairn.cli.policy_apply", "add"),
    "confirm": ("cairn.cli.policy_confirm", "add_confirm"),
    "revert": ("cairn.cli.policy_confirm", "add_revert"),
}
"""Module of each command, and its function that adds the arguments; a command that is not asked
for is not loaded."""


def main(argv: list[str]) -> int:
    """Run one command; return its exit status."""
    top = argparse.ArgumentParser(
        prog="cairn policy",
        description="Show what network policies do, and what they would do before they do it.",
    )
    actions = top.add_subparsers(dest="action", required=True, metavar="COMMAND")
    asked = [word for word in argv[:1] if word in COMMANDS] or list(COMMANDS)
    runs: dict[str, Run] = {}
    for name in asked:
        module, add = COMMANDS[name]
        runs[name] = getattr(importlib.import_module(module), add)(actions)
    options = top.parse_args(argv)
    try:
        return runs[options.action](options)
    except (NoSuchEnd, BadRequest, BadManifest) as error:
        complain(f"policy {options.action}", error)
        return USAGE
    except (ApiError, NoAccess) as error:
        complain(f"policy {options.action}", error)
        return FAILED
