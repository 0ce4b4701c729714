"""`cairn policy suggest`: least-privilege policies from recorded flows.

flows as JSON lines, a cluster's objects  ->  manifests, one policy for each workload
"""

import argparse
from collections.abc import Callable

from cairn.cli.policy_options import FAILED, OK, add_source, complain, read_world
from cairn.cli.policy_replay import add_flows, flows_of
from cairn.cli.render import spell
from cairn.diagnose.policy.seen import observe
from cairn.diagnose.policy.suggest import policy_object, suggest
from cairn.diagnose.policy.suggest_text import suggestions_text


def add(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> Callable[[argparse.Namespace], int]:
    """Add the command's arguments; return what runs it."""
    text = "Least-privilege policies that let recorded flows through, and nothing else."
    made = actions.add_parser("suggest", help=text, description=text)
    made.add_argument("-n", "--namespace", help="for workloads of this namespace alone")
    add_flows(made)
    add_source(made)
    return run


def run(options: argparse.Namespace) -> int:
    """Print the manifests; return 1 if there are no flows to write them from."""
    lines = flows_of(options)
    found = suggest(observe(lines, read_world(options)), options.namespace)
    lines.tell("policy suggest")
    if not found:
        complain("policy suggest", "no flow of a pod passed: record some traffic first")
        return FAILED
    if options.output == "table":
        print(suggestions_text(found), end="")
    else:
        print(spell([policy_object(one) for one in found], options.output), end="")
    return FAILED if lines.bad else OK
