"""What the documents name is there: commands, options, targets of make, files."""

import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
OPTION = re.compile(r"(?<!\S)--?[a-z][a-z-]*")
SENTENCE_END = re.compile(r"\n\s*\n|\n(?=[|*#-])|(?<=[.;:])\s")
LINK = re.compile(r"\]\(([^)#:]+)\)")
WORD = re.compile(r"[a-z][a-z-]*")
TARGET = re.compile(r"^([a-z][a-z-]*):", re.MULTILINE)
DEEPEST = 2
"""`cairn lab up` is a command of two words after `cairn`; further words are arguments."""


def codes(text: str) -> Iterator[list[str]]:
    """Yield what stands in code: the lines of each block, the spans of each sentence."""
    for block in FENCE.findall(text):
        yield block.splitlines()[1:-1]
    for sentence in SENTENCE_END.split(FENCE.sub("", text)):
        yield SPAN.findall(sentence)


def calls(code: str) -> Iterator[list[str]]:
    """Yield the words of each call of `cairn` in a line of code, without what it runs itself."""
    for part in re.split(r"[|;&]\s+", code.partition("  #")[0]):
        words = part.split(" -- ")[0].split()
        while words and (words[0] in ("sudo", "$", "#") or "=" in words[0]):
            words = words[1:]
        if words[:1] == ["cairn"] and len(words) > 1:
            yield words[1:]


@cache
def help_of(command: tuple[str, ...]) -> str:
    """Return a command's help; empty if there is no such command."""
    argv = [sys.executable, "-m", "cairn", *command, "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout if done.returncode == 0 else ""


def command_of(words: list[str]) -> tuple[str, ...]:
    """Return the longest command that the words begin with; empty if there is none."""
    plain = []
    for word in words[:DEEPEST]:
        if not WORD.fullmatch(word):
            break
        plain.append(word)
    while plain and not help_of(tuple(plain)):
        plain.pop()
    return tuple(plain)


def findings(text: str) -> Iterator[str]:
    """Yield what a document says of commands and options that is not so."""
    for group in codes(text):
        last: tuple[str, ...] = ()
        for code in group:
            for words in calls(code):
                if words[0] == "cni" or words[0].startswith("-"):
                    continue
                last = command_of(words)
                if not last:
                    yield f"no command `cairn {' '.join(words)}`"
                for option in OPTION.findall(" ".join(words)) if last else ():
                    if option not in help_of(last):
                        yield f"`cairn {' '.join(last)}` has no option {option}"
            # "`cairn lab up` takes `--nodes N`": an option alone belongs to the command before it.
            option = code.split()[0] if code.startswith("--") else ""
            if last and option not in help_of(last):
                yield f"`cairn {' '.join(last)}` has no option {option}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_commands_and_options_exist(path: Path) -> None:
    assert list(findings(path.read_text())) == []


def test_the_check_finds_what_is_wrong() -> None:
    wrong = "`cairn lap up`, `cairn lab up --knots 3`, then `--nodes 3` and `--nests 3`"
    assert list(findings(wrong)) == [
        "no command `cairn lap up`",
        "`cairn lab up` has no option --knots",
        "`cairn lab up` has no option --nests",
    ]


def test_the_readme_names_commands() -> None:
    found = [code for group in codes((ROOT / "README.md").read_text()) for code in group]
    named = {tuple(words[:2]) for code in found for words in calls(code)}
    assert len(named) >= 5


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_linked_files_exist(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=IDS)
def test_targets_of_make_exist(path: Path) -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text()))
    named = {
        words[1]
        for group in codes(path.read_text())
        for code in group
        if (words := code.split()) and words[0] == "make" and len(words) > 1
    }
    assert named <= targets
