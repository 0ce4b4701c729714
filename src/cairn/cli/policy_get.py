"""`cairn policy get [NAME]`: the policies, whom they select, what they close, what is used.

a cluster's objects, the agents' counters  ->  a row per policy; with NAME, its rules
"""

import argparse
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from cairn.cli.policy_options import FAILED, OK, add_source, complain, read_world, show
from cairn.cli.policy_used import read_used
from cairn.diagnose.policy.listing import PolicyRow, RuleRow, Uses, list_policies

COLUMNS = ("KIND", "NAMESPACE", "NAME", "STATE", "SELECTS", "CLOSES", "RULES", "USED")


def add(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
) -> Callable[[argparse.Namespace], int]:
    """Add the command's arguments; return what runs it."""
    text = "The policies: state, whom they select, what they close, which rules are used."
    made = actions.add_parser("get", help=text, description=text)
    made.add_argument("name", nargs="?", metavar="NAME", help="one policy, with its rules")
    made.add_argument("-n", "--namespace", help="policies of this namespace alone")
    made.add_argument(
        "--unused", action="store_true", help="rules that never did anything; status 1 if any"
    )
    add_source(made)
    return run


def run(options: argparse.Namespace) -> int:
    """Print the rows; return 1 if a policy is invalid, or unused rules are found when asked."""
    world = read_world(options)
    used, failed = (None, []) if options.objects else read_used(options.kubeconfig)
    rows = [
        row
        for row in list_policies(world, used)
        if options.namespace in (None, row.namespace) and options.name in (None, row.name)
    ]
    for line in failed:
        complain("policy get", line)
    if options.name and not rows:
        complain("policy get", f"no policy {options.name}: cairn policy get shows what there is")
        return FAILED
    if options.unused:
        return _unused(options, rows)
    plain: list[dict[str, Any]] = [asdict(row) | {"unused": row.unused} for row in rows]
    show(options, "Network policies", COLUMNS, [_cells(row) for row in rows], plain)
    if options.name and options.output == "table":
        for row in rows:
            _show_rules(options, row)
    return FAILED if any(row.state.startswith("invalid") for row in rows) else OK


def _cells(row: PolicyRow) -> tuple[str, ...]:
    return (
        row.kind,
        row.namespace or "-",
        row.name,
        row.state,
        f"{row.pods} {row.about}",
        ", ".join(row.isolates) or "-",
        str(sum(not rule.implied for rule in row.rules)),
        _spell(row.uses),
    )


def _spell(uses: Uses | None) -> str:
    if uses is None:
        return "not said"
    words = [f"{uses.allowed} allowed", f"{uses.denied} denied"]
    return ", ".join([*words, f"{uses.audited} audited"] if uses.audited else words)


def _show_rules(options: argparse.Namespace, row: PolicyRow) -> None:
    title = f"Rules of {row.name}"
    columns = ("RULE", "ACTION", "OTHER END", "AT", "USED")
    show(options, title, columns, [_rule_cells(rule) for rule in row.rules], ())


def _rule_cells(rule: RuleRow) -> tuple[str, ...]:
    path = f"{rule.path} (not written)" if rule.implied else rule.path
    return path, rule.action, rule.peers, rule.at, _spell(rule.uses)


def _unused(options: argparse.Namespace, rows: list[PolicyRow]) -> int:
    if any(row.uses is None for row in rows):
        complain("policy get", "no agent said which rules are used")
        return FAILED
    found = [(row, path) for row in rows for path in row.unused if row.state == "enforced"]
    plain = [
        {"kind": row.kind, "namespace": row.namespace, "name": row.name, "rule": path}
        for row, path in found
    ]
    cells = [(row.kind, row.namespace or "-", row.name, path) for row, path in found]
    show(options, "Unused rules", ("KIND", "NAMESPACE", "NAME", "RULE"), cells, plain)
    return FAILED if found else OK
