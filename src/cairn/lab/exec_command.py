"""`cairn lab exec HOST -- COMMAND …`: the command line of entry.py, quick to load.

argv  ->  the command's own terminal, streams and exit status
"""

import argparse
import os
import sys

from cairn.lab.entry import run_in_pod, run_on_host
from cairn.lab.preflight import check_root
from cairn.lab.state import DEFAULT_NAME, Lab, load_lab

USAGE = 2
HELP = "run a command on a host, or in pod/NAMESPACE/NAME"
_SANE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(argv: list[str]) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="cairn lab exec", description=HELP)
    add_arguments(parser)
    return run(parser.parse_args(argv))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `exec` takes."""
    parser.add_argument("--name", default=DEFAULT_NAME, help="the lab (default: %(default)s)")
    parser.add_argument("host", metavar="HOST")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- COMMAND ...")


def run(options: argparse.Namespace) -> int:
    """Run what the options say; return the command's exit status."""
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    if not argv:
        sys.stderr.write("usage: cairn lab exec HOST -- COMMAND ...\n")
        return USAGE
    check_root("cairn lab exec")
    lab = load_lab(options.name)
    enter = run_in_pod if options.host.startswith("pod/") else run_on_host
    return enter(lab, options.host, argv, environment_inside(lab))


def environment_inside(lab: Lab) -> dict[str, str]:
    """Return the environment of a command that runs on one of the lab's hosts."""
    return {
        **os.environ,
        "PATH": f"{lab.bin}:{os.environ.get('PATH') or ''}:{_SANE_PATH}",
        "KUBECONFIG": str(lab.inner_kubeconfig),
        "CAIRN_LAB": lab.name,
        "CAIRN_ROUTER_SOCKET": str(lab.router_socket),
    }
