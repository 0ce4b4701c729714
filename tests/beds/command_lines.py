"""Judges command lines that texts tell people to run: do they exist, are they written right.

    one command line  ->  None, or AssertionError with why

Cairn's own commands are read by their own parsers, and nothing is run.  Of kubectl the verbs, the
options and the kinds that are written anywhere are listed here.
"""

import argparse
import importlib
import shlex
from typing import Any
from unittest import mock

from cairn.cli.flows import _question
from cairn.cli.main import COMMANDS
from cairn.kube import resource
from cairn.kube.resource import Resource

VERBS: dict[str, frozenset[str]] = {
    "get": frozenset({"-o", "-A", "-l", "--show-labels"}),
    "describe": frozenset(),
    "edit": frozenset(),
    "delete": frozenset(),
    "label": frozenset(),
    "annotate": frozenset(),
    "apply": frozenset({"-f"}),
    "logs": frozenset({"-c", "--tail", "--previous", "-l"}),
    "exec": frozenset(),
    "top": frozenset({"-A", "--sort-by"}),
    "set": frozenset(),
    "create": frozenset({"--from-literal"}),
    "config": frozenset({"--minify"}),
    "rollout": frozenset(),
}
"""Options of each verb, beside -n."""
OF_KINDS = frozenset({"get", "describe", "edit", "delete", "label", "annotate"})
SHORT = {"ds": "daemonsets", "deploy": "deployments", "svc": "services"}
TOOLS = frozenset({
    "df", "grep", "ip", "journalctl", "kubeadm", "nft", "openssl", "ping", "ss", "sysctl",
    "timedatectl",
})  # fmt: skip
"""Programs of a node, a client or a control plane."""
KINDS = {
    name
    for one in vars(resource).values()
    for each in (one if isinstance(one, tuple) else (one,))
    if isinstance(each, Resource)
    for name in (each.plural, each.plural.removesuffix("s"), each.kind.lower())
}


class _Parsed(Exception):
    """A parser understood its arguments."""

    def __init__(self, options: argparse.Namespace) -> None:
        super().__init__()
        self.options = options


def check_command(line: str) -> None:
    """Fail unless a line is a command that exists, with options that it takes."""
    words = shlex.split(line)
    assert words, "there is no command"
    program, *rest = words
    if program == "cairn":
        _check_cairn(rest, line)
    elif program == "bgpctl":
        _check_cairn(["bgpctl", *rest], line)
    elif program == "kubectl":
        _check_kubectl(rest, line)
    else:
        assert program in TOOLS, f"{program!r} of {line!r} is no program that is known"


def _check_cairn(words: list[str], line: str) -> None:
    commands = {command.name: command.module for command in COMMANDS}
    assert words, line
    assert words[0] in commands, f"{line!r}: cairn has no command {words[0]!r}"
    if words[:2] == ["lab", "exec"]:
        assert "--" in words, f"{line!r}: write -- before the command"
        check_command(shlex.join(words[words.index("--") + 1 :]))
        return
    understands = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, args: Any = None, namespace: Any = None) -> None:
        raise _Parsed(understands(self, args, namespace))

    main = importlib.import_module(commands[words[0]]).main
    with mock.patch.object(argparse.ArgumentParser, "parse_args", stop):
        try:
            main(words[1:])
        except _Parsed as parsed:
            options = parsed.options
        except SystemExit as error:
            raise AssertionError(f"{line!r} is not understood") from error
        else:
            raise AssertionError(f"{line!r}: its arguments were not parsed")
    if words[0] == "flows":
        _question(options)


def _check_kubectl(words: list[str], line: str) -> None:
    if words[:1] == ["-n"]:
        words = words[2:]
    verb, *rest = words
    assert verb in VERBS, f"{line!r}: kubectl's {verb!r} is not among the verbs that are known"
    named = [word for word in rest if not word.startswith("-")]
    for word in rest if verb != "exec" else ():
        option = word.partition("=")[0]
        known = not option.startswith("-") or option in VERBS[verb] | {"-n"}
        assert known, f"{line!r}: kubectl {verb} takes no {option}"
    if verb in OF_KINDS:
        kind = named[0].partition("/")[0]
        assert SHORT.get(kind, kind) in KINDS, f"{line!r}: there is no kind {kind!r}"
