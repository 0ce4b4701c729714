"""Names and patterns as policies write them."""

import time

import pytest

from cairn.dns import Message, Question, write_message
from cairn.dns.pattern import NameSet, Selection, compile_pattern
from cairn.dns.query import Query, read_query


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.example.com", ["w.example.com", "a_b.example.com"], ["example.com", "a.b.example.com"]),
        ("*", ["a", "a.b.c", ""], []),
        ("**.c.io", ["a.c.io", "a.b.c.io"], ["c.io", "xc.io", ".c.io"]),
        ("a*b*c.d", ["abc.d", "axxbxxbxc.d"], ["ab.c.d", "abc.d.e", "xabc.d"]),
        ("*a*b.c", ["aab.c", "xaxb.c"], ["ba.c"]),
        ("api-*.x.*", ["api-.x.y", "api-1.x.z"], ["api-1.x", "api-1.x.y.z"]),
        ("ba*ba", ["baba", "baxba"], ["ba", "bab"]),
        ("*.A.B.", ["x.a.b"], ["x.a.b."]),
        ("a.+c", ["a.+c"], ["a.bbc"]),
    ],
)  # fmt: skip
def test_patterns(pattern: str, yes: list[str], no: list[str]) -> None:
    expression = compile_pattern(pattern)
    assert [name for name in yes if not expression.fullmatch(name)] == []
    assert [name for name in no if expression.fullmatch(name)] == []


def test_no_pattern_takes_long() -> None:
    start = time.perf_counter()
    for pattern in ("*a" * 60 + "b", "**." + "*a" * 60 + "b", "*" * 200 + "b", "*.".join("a" * 60)):
        for name in ("a" * 250, "a." * 125, "ab" * 120):
            compile_pattern(pattern).fullmatch(name)
    assert time.perf_counter() - start < 1


def test_a_dot_within_a_label_is_no_end_of_one() -> None:
    query = read_query(write_message(Message(1, questions=(Question((b"a.b", b"c\0\\"), 1),))))
    assert isinstance(query, Query)
    assert query.name == "a\\046b.c\\000\\092"
    assert not compile_pattern("*.b.*").fullmatch(query.name)


def test_sets() -> None:
    rules = NameSet([("One.Test.", ""), ("", "*.two.test"), ("", "three.test")])
    assert rules.holds("one.test")
    assert rules.holds("x.two.test")
    assert rules.holds("three.test")
    assert not rules.holds("two.test")
    assert NameSet([("", "*")]).holds("anything.at.all")
    assert not NameSet([]).holds("a")


def test_selection() -> None:
    found = Selection([("a.test", "", 3), ("", "*.test", 1), ("", "a.test", 2), ("b", "", 4)])
    assert found.of("a.test") == (1, 2, 3)
    assert found.of("b") == (4,)
    assert found.of("c") == ()


def test_selection_finds_what_each_pattern_alone_would() -> None:
    patterns = [
        "*",
        "*.com",
        "*.*",
        "**.b.com",
        "*b.com",
        "a*.b.com",
        "a.b.*",
        "*.c.b.com",
        "**.com",
    ]
    chosen = Selection([("", pattern, number) for number, pattern in enumerate(patterns)])
    for name in ("", "com", "b.com", "a.b.com", "x.a.b.com", "x.c.b.com", "a.b.c", "ab.com", "org"):
        wanted = tuple(
            number for number, text in enumerate(patterns) if compile_pattern(text).fullmatch(name)
        )
        assert chosen.of(name) == wanted, name
        assert NameSet([("", text) for text in patterns[1:]]).holds(name) == any(
            number for number in wanted
        )


def test_a_thousand_patterns_cost_no_more_than_a_few() -> None:
    chosen = Selection([("", f"*.zone{n}.example", n) for n in range(10_000)])
    start = time.perf_counter()
    for n in range(10_000):
        assert chosen.of(f"www.zone{n}.example") == (n,)
    assert time.perf_counter() - start < 2
