"""Envoy itself takes every expression that a policy may hold, and refuses what is refused."""

import asyncio
import random

import pytest

from cairn.agent.envoy_refusal import ask
from cairn.compile.proxy import trial
from cairn.compile.proxy_routes import route_configuration
from cairn.kube.policy.regex import check_regex
from cairn.kube.policy.rule import HttpRule, InvalidPolicy

PIECES = [*"ab(|)[]{}*+?\\^$.,-:!<>P123dwxpLQEisU=é", "(?:", "[^", "[[:alpha:]]", "{2}", "{1,9}"]
PIECES += ["(?i)", "(?P<n>", r"\pL", r"\x41", r"\d"]
LARGE = [
    "[a-z]{999}",
    ".{1000}",
    r"\pL{39}",
    "(é{100}){10}",
    "((((a|b)*c)+d){5}){200}",
    "(" * 500 + "a" + ")" * 500,
    "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
]
FOREIGN = ["(?=x)", r"(a)\1", "a**", "(a", "[z-a]", "x{1001}", r"\Z"]


def passes(text: str) -> bool:
    try:
        check_regex(text, "p")
    except InvalidPolicy:
        return False
    return True


def random_expressions(count: int) -> list[str]:
    """Return expressions that pass, of pieces put together by chance."""
    chance = random.Random(7)
    found: dict[str, None] = {}
    while len(found) < count:
        text = "".join(chance.choices(PIECES, k=chance.randint(2, 14)))
        if passes(text):
            found[text] = None
    return list(found)


def answer(expressions: list[str]) -> str:
    rules = [HttpRule(path=text) for text in expressions]
    return asyncio.run(ask(trial(route_configuration("trial", rules, {}))))


def test_what_passes_is_taken_by_envoy() -> None:
    assert [text for text in LARGE if not passes(text)] == []
    assert answer(LARGE + random_expressions(1500)) == ""


@pytest.mark.parametrize("text", FOREIGN)
def test_what_envoy_refuses_does_not_pass(text: str) -> None:
    assert answer([text]) != ""
    assert not passes(text)
