"""Regular expressions of requests: what the proxy's engine takes passes, all else is named."""

import contextlib
import time

import pytest

from cairn.kube.policy.regex import LONGEST, check_regex
from cairn.kube.policy.rule import InvalidPolicy

GOOD = [
    "/public",
    "/api/v[12]/.*",
    "GET|HEAD",
    "(x{10}){100}",
    "x{",
    "{",
    "a{,3}",
    r"\pL\p{Lu}\P{^Nd}",
    "[[:alpha:]_-]+",
    "[^[:digit:]]",
    "[]a]",
    "[^]a]",
    "[a-]",
    r"[\w.-]{1,63}",
    r"[\x{41}-\x5A]",
    "(?i)get",
    "(?i:get)",
    "(?s-i:.)",
    "(?P<name>a)",
    "(?:)",
    "()|()",
    "a*?b+?c??",
    r"\Qa.b*\E+",
    r"\A\b\B\z^$",
    r"\/\.\-\a\f\n\r\t\v",
    "(((((a*)*)*)*)*)*",
    "é+",
    "a" * LONGEST,
    "(" * 400 + ")" * 400,
]
BAD = [
    ("(?=x)", "look around"),
    ("(?!x)", "look around"),
    ("(?<=x)y", "look around"),
    ("(?<!x)y", "look around"),
    (r"(a)\1", "refers back"),
    (r"(?P<n>a)\k<n>", "refers back"),
    (r"\g1", "refers back"),
    ("(?<x>a)", "begins no group"),
    ("(?>a)", "begins no group"),
    ("(?P=x)", "begins no group"),
    ("(?x)a", "begins no group"),
    ("(?", "begins no group"),
    ("(a", "( is not closed"),
    ("a)", ") closes nothing"),
    ("[a", "[ is not closed"),
    ("[", "[ is not closed"),
    ("[]", "[ is not closed"),
    ("[a-", "[ is not closed"),
    ("[z-a]", "ends before it begins"),
    (r"[a-\d]", "ends before it begins"),
    ("[[:foo:]]", "no class"),
    ("a**", "repeats a repetition"),
    ("a++", "repeats a repetition"),
    ("a???", "repeats a repetition"),
    ("a{2}{3}", "repeats a repetition"),
    ("*a", "repeats nothing"),
    ("(|*a)", "repeats nothing"),
    ("(?i)*", "repeats nothing"),
    ("x{1001}", "no count up to"),
    ("x{2,1}", "no count up to"),
    ("(x{100}){100}", "repeats more than 1000"),
    ("((x{10}){11}){10}", "repeats more than 1000"),
    ("(" + "[a-z]" * 30 + "){1000}", "too large"),
    (r"\p{Greek}", "no category"),
    (r"\x{110000}", "is no character"),
    (r"\Z", "means nothing"),
    (r"\C", "means nothing"),
    (r"[\b]", "means nothing"),
    ("\\", "ends in a backslash"),
    ("a" * (LONGEST + 1), "longer than"),
    ("é" * (LONGEST // 2 + 1), "longer than"),
    ("\ud800", "not valid text"),
    ("", "is not a text"),
]


@pytest.mark.parametrize("text", GOOD)
def test_what_the_engine_takes_passes(text: str) -> None:
    check_regex(text, "p")


@pytest.mark.parametrize(("text", "words"), BAD)
def test_what_it_does_not_take_is_named(text: str, words: str) -> None:
    with pytest.raises(InvalidPolicy, match="p: ") as caught:
        check_regex(text, "p")
    assert words in caught.value.reason


@pytest.mark.parametrize(
    "text",
    ["(a*)*" * 200, "(" * 1000, "[" * 1000, "(x+x+)+y" * 100, "a{1000}" * 140, "[a-z]{999}" * 100],
)
def test_no_expression_takes_long(text: str) -> None:
    start = time.process_time()
    with contextlib.suppress(InvalidPolicy):
        check_regex(text, "p")
    assert time.process_time() - start < 0.5
