"""`cairn policy COMMAND`: what policies do, before and while they do it.

    arguments, a cluster's objects or files  ->  diagnose.policy  ->  table | JSON | YAML

Invariants  Exit status 0: it holds (for trace: the connection passes; for plan and replay: nothing
            changes); 1: it does not; 2: wrong usage.
"""

import argparse
from collections.abc import Callable

from cairn.cli import (
    policy_apply,
    policy_confirm,
    policy_get,
    policy_plan,
    policy_replay,
    policy_suggest,
    policy_trace,
    policy_used,
)
from cairn.cli.manifests import BadManifest
from cairn.cli.policy_options import FAILED, USAGE, complain
from cairn.diagnose.policy.ends import NoSuchEnd
from cairn.diagnose.policy.layer7 import BadRequest
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess

Run = Callable[[argparse.Namespace], int]
Add = Callable[["argparse._SubParsersAction[argparse.ArgumentParser]"], Run]
COMMANDS: dict[str, Add] = {
    "get": policy_get.add,
    "used": policy_used.add,
    "trace": policy_trace.add,
    "plan": policy_plan.add,
    "replay": policy_replay.add,
    "suggest": policy_suggest.add,
    "apply": policy_apply.add,
    "confirm": policy_confirm.add_confirm,
    "revert": policy_confirm.add_revert,
}


def main(argv: list[str]) -> int:
    """Run one command; return its exit status."""
    top = argparse.ArgumentParser(
        prog="cairn policy",
        description="Show what network policies do, and what they would do before they do it.",
    )
    actions = top.add_subparsers(dest="action", required=True, metavar="COMMAND")
    runs = {name: add(actions) for name, add in COMMANDS.items()}
    options = top.parse_args(argv)
    try:
        return runs[options.action](options)
    except (NoSuchEnd, BadRequest, BadManifest) as error:
        complain(f"policy {options.action}", error)
        return USAGE
    except (ApiError, NoAccess) as error:
        complain(f"policy {options.action}", error)
        return FAILED
