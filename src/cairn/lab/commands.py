"""What people type after `cairn lab`: up, down, status, kubeconfig, fault, node, list.

    argv  ->  Options  ->  the lab changed or shown  ->  exit status

Invariants  0: it holds; 1: it does not, with one line on standard error; 2: wrong usage.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from cairn.lab import exec_command, faults
from cairn.lab.breakages.catalogue import FAULTS
from cairn.lab.fault_list import help_text, print_list
from cairn.lab.inventory import ROUTER_KINDS
from cairn.lab.node import add_node, remove_node
from cairn.lab.output import add_form, print_plain, print_rows
from cairn.lab.overview import gather, print_overview
from cairn.lab.preflight import check_root
from cairn.lab.screen import Screen
from cairn.lab.state import (
    DEFAULT_NAME,
    WrongUsage,
    check_name,
    exclusive,
    lab_names,
    load_lab,
)
from cairn.lab.teardown import find_traces, recorded_or_bare, take_down
from cairn.lab.topology import MAX_NODES
from cairn.lab.up import Choices, bring_up

OK, FAILED, USAGE = 0, 1, 2

Options = argparse.Namespace


def main(argv: list[str]) -> int:
    """Run one command; return its exit status."""
    options = _parser().parse_args(argv)
    check_name(options.name)
    command: Callable[[Options], int] = options.command
    return command(options)


def _up(options: Options) -> int:
    return bring_up(
        Choices(
            options.name,
            options.nodes,
            options.far_nodes,
            options.router,
            options.state,
            options.manifests,
            not options.no_scenario,
        )
    )


def _down(options: Options) -> int:
    check_root("cairn lab down")
    began = time.monotonic()
    lab = recorded_or_bare(options.name)
    if not find_traces(lab):
        sys.stdout.write(f"no lab {lab.name!r} runs here; nothing to do\n")
        return OK
    with exclusive(lab):
        left = take_down(lab)
    for line in left:
        sys.stderr.write(f"cairn lab down: left behind: {line}\n")
    if left:
        return FAILED
    kept = f"; its state is kept in {lab.durable}" if lab.state else ""
    sys.stdout.write(f"lab {lab.name} is down ({time.monotonic() - began:.1f} s){kept}\n")
    return OK


def _status(options: Options) -> int:
    check_root("cairn lab status")
    view = asyncio.run(gather(load_lab(options.name)))
    if options.output == "table":
        print_overview(view, Screen())
    else:
        print_plain(view.to_json(), options.output)
    return OK if view.healthy else FAILED


def _kubeconfig(options: Options) -> int:
    sys.stdout.write(f"{load_lab(options.name).kubeconfig}\n")
    return OK


def _list(options: Options) -> int:
    labs = [recorded_or_bare(name) for name in lab_names()]
    rows = [
        {
            "name": lab.name,
            "nodes": len(lab.nodes),
            "router": lab.router,
            "kubeconfig": str(lab.kubeconfig),
        }
        for lab in labs
    ]
    if not rows and options.output == "table":
        sys.stdout.write("no lab runs here; start one with cairn lab up\n")
        return OK
    print_rows(options.output, ("NAME", "NODES", "ROUTER", "KUBECONFIG"), rows)
    return OK


def _fault(options: Options) -> int:
    check_root("cairn lab fault")
    if options.fault == "list":
        if options.target:
            raise WrongUsage(f"fault list takes no {options.target!r}")
        print_list(options.output)
        return OK
    if options.fault == "describe":
        return _describe(options)
    lab = load_lab(options.name)
    if options.fault == "clear" or options.fault in faults.UNDO:
        name = faults.UNDO.get(options.fault, "")
        target = options.target
        if options.fault == "clear" and target in {one.name for one in FAULTS}:
            name, target = target, options.value
        for one in faults.clear(lab, name, target):
            sys.stdout.write(f"cleared: {one.text}\n")
        return OK
    faults.inject(lab, options.fault, options.target, options.value)
    return OK


def _describe(options: Options) -> int:
    if not options.target or options.value:
        raise WrongUsage("usage: cairn lab fault describe NAME")
    told = faults.describe(options.target)
    if options.output == "table":
        sys.stdout.write("".join(f"{key:<8} {text}\n" for key, text in told.items()))
    else:
        print_plain(told, options.output)
    return OK


def _node(options: Options) -> int:
    check_root("cairn lab node")
    if bool(options.node) != (options.action == "remove"):
        raise WrongUsage("usage: cairn lab node add [--far] | cairn lab node remove NODE")
    lab = load_lab(options.name)
    if options.action == "add":
        sys.stdout.write(f"{add_node(lab, far=options.far)} is Ready\n")
        return OK
    remove_node(lab, options.node)
    sys.stdout.write(f"{options.node} is gone\n")
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cairn lab", description="A home network with a cluster in it, on this machine."
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, run: Callable[[Options], int], text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--name", default=DEFAULT_NAME, help="the lab (default: %(default)s)")
        command.set_defaults(command=run)
        return command

    _add_up(add("up", _up, "start the lab, or heal it"))
    add("down", _down, "stop the lab and leave nothing behind")
    status = add("status", _status, "hosts, processes, nodes; exit 1 if something is wrong")
    add_form(status)
    inside = commands.add_parser("exec", help=exec_command.HELP)
    exec_command.add_arguments(inside)
    inside.set_defaults(command=exec_command.run)
    add("kubeconfig", _kubeconfig, "print the path of the administrator's kubeconfig")
    add_form(add("list", _list, "list the labs on this machine"))
    fault = add("fault", _fault, "break something: fault list, describe NAME, NAME TARGET, clear")
    fault.formatter_class = argparse.RawDescriptionHelpFormatter
    fault.epilog = help_text()
    fault.add_argument("fault", metavar="list|describe|clear|NAME")
    fault.add_argument("target", nargs="?", default="")
    fault.add_argument("value", nargs="?", default="")
    add_form(fault)
    node = add("node", _node, "add a node, or remove one")
    node.add_argument("action", choices=("add", "remove"))
    node.add_argument("node", nargs="?", default="", help="the node to remove")
    node.add_argument("--far", action="store_true", help="add it on the second subnet")
    return parser


def _add_up(up: argparse.ArgumentParser) -> None:
    up.add_argument("--nodes", type=_node_count, metavar="N", help="how many nodes (3)")
    up.add_argument(
        "--far-nodes",
        type=_node_count,
        metavar="N",
        help="how many besides, on a second subnet (0)",
    )
    up.add_argument("--router", choices=ROUTER_KINDS, help="which software routes (cairn)")
    up.add_argument("--manifests", type=Path, metavar="DIR", help="manifests to apply besides")
    up.add_argument("--no-scenario", action="store_true", help="leave the cluster empty")
    up.add_argument("--state", type=Path, metavar="DIR", help="keep database and keys here")


def _node_count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_NODES:
        raise argparse.ArgumentTypeError(f"{text!r}: a lab has 1 to {MAX_NODES} nodes")
    return int(text)
