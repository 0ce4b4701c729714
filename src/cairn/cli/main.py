"""`cairn COMMAND …`: finds the command's module by name and runs it.

    argv  ->  COMMANDS  ->  module:main(argv)  ->  exit status

Modules are loaded by name when their command is called, so that a daemon holds nothing of the
terminal's front end and `cairn cni` starts at once.

Invariants  Exit status 0: it holds; 1: it does not; 2: wrong usage. Errors are one line on standard
            error, never a traceback, unless CAIRN_TRACEBACK is set.
"""

import importlib
import os
import sys
import traceback
from dataclasses import dataclass

from cairn import __version__

OK, FAILED, USAGE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Command:
    """One command of `cairn`."""

    name: str
    """What the user types."""
    module: str
    """Module whose `main(argv)` runs it."""
    help: str
    """One line for the overview."""
    daemon: bool = False
    """Whether it runs until told to stop."""


COMMANDS = (
    Command(
        "status", "cairn.cli.status", "one screen: what runs, who announces what, what is wrong"
    ),
    Command("why", "cairn.cli.why", "why a client does not reach a target: the whole way, walked"),
    Command("why-node", "cairn.cli.why_node", "what one node says to `cairn why`"),
    Command("lb", "cairn.cli.lb", "the nodes' load balancers: list, backends, connections, maglev"),
    Command(
        "policy", "cairn.cli.policy", "network policies: get, trace, plan, replay, suggest, apply"
    ),
    Command("plan", "cairn.cli.plan", "what an apply would change in the whole network"),
    Command(
        "doctor", "cairn.cli.doctor", "check the whole system: what is wrong, and how to mend it"
    ),
    Command("report", "cairn.cli.report", "what this node knows of itself, as JSON, for doctor"),
    Command("trace", "cairn.cli.trace", "packets as they pass the nodes, each at each place"),
    Command("trace-node", "cairn.cli.trace_node", "what one node says to `cairn trace`"),
    Command("flows", "cairn.cli.flows", "the history of all flows: who, whom, what was dropped"),
    Command("hubble", "cairn.cli.hubble", "flows as they happen: observe, status, list, enable"),
    Command("lint", "cairn.cli.lint", "what manifests mean otherwise than their author may think"),
    Command("lab", "cairn.lab.main", "the home lab on this machine: up, down, status, exec, fault"),
    Command(
        "bgpctl", "cairn.router.bgpctl", "the router's view of BGP: show neighbor, rib, summary"
    ),
    Command("crds", "cairn.cli.crds", "print the CustomResourceDefinitions that Cairn needs"),
    Command("agent", "cairn.agent.main", "one node's network", daemon=True),
    Command("speaker", "cairn.speaker.main", "one node's BGP speaker", daemon=True),
    Command("dns", "cairn.dnsproxy.main", "one node's DNS proxy for policy by name", daemon=True),
    Command("proxy", "cairn.proxy.main", "one node's Envoy, once HTTP rules need it", daemon=True),
    Command("operator", "cairn.operator.main", "addresses and node configurations", daemon=True),
    Command(
        "relay", "cairn.relay.main", "all nodes' flows together, and their history", daemon=True
    ),
    Command("router", "cairn.router.main", "a Linux home router: BGP, ECMP, firewall", daemon=True),
    Command("api", "cairn.api.main", "the embedded Kubernetes API server", daemon=True),
    Command("cni", "cairn.cni.main", "the CNI plugin, called by the kubelet", daemon=True),
)


def main(argv: list[str] | None = None) -> int:
    """Run the command that `argv` names and return its exit status."""
    words = sys.argv[1:] if argv is None else argv
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return OK if words else USAGE
    if words[0] in ("--version", "version"):
        print(f"cairn {__version__}")
        return OK
    for command in COMMANDS:
        if command.name == words[0]:
            return _run(command, words[1:])
    names = ", ".join(command.name for command in COMMANDS)
    print(f"cairn: unknown command {words[0]!r}: use one of {names}", file=sys.stderr)
    return USAGE


def overview() -> str:
    """Return the help text."""
    lines = ["usage: cairn COMMAND [OPTIONS]", ""]
    for daemon, title in ((False, "commands:"), (True, "daemons:")):
        lines.append(title)
        lines += [f"  {c.name:<10} {c.help}" for c in COMMANDS if c.daemon is daemon]
    return "\n".join(lines)


def _run(command: Command, argv: list[str]) -> int:
    try:
        return int(importlib.import_module(command.module).main(argv) or OK)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone (`cairn status | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        if os.environ.get("CAIRN_TRACEBACK"):
            traceback.print_exc()
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"cairn {command.name}: {text}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
