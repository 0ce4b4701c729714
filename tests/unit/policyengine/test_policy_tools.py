"""The engine's tools against their definitions: numbers, indexes, networks, prefixes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cairn.abi.structs import PolicyAction
from cairn.compile.policy.group import covers
from cairn.compile.policy.numbering import Full, Numbering, digest_of
from cairn.compile.policy.partition import Covering, partition
from cairn.compile.policy.port_prefix import port_prefixes
from cairn.compile.policy.prefix_table import PrefixTable
from cairn.compile.policy.selector_index import LabelIndex, SelectorIndex
from cairn.desired.policy import HIGHEST_PORT, Verdict
from cairn.kube.policy.rule import PolicyRef, RuleRef
from cairn.kube.selector import Operator, Requirement, Selector
from cairn.net import Address, Network, parse_address, parse_network

PORTS = st.integers(0, HIGHEST_PORT) | st.sampled_from([0, 1, 80, 1023, 1024, 32767, HIGHEST_PORT])


@given(PORTS, PORTS)
def test_prefixes_are_exactly_the_range(one: int, other: int) -> None:
    first, last = min(one, other), max(one, other)
    at = first
    found = list(port_prefixes(first, last))
    for bits, port in found:
        assert 0 <= bits <= 16
        assert port == at, "sorted, without gaps or overlaps"
        assert port % (1 << 16 - bits) == 0, "the bits behind the prefix are 0"
        at += 1 << 16 - bits
    assert at == last + 1
    assert len(found) <= 30


def test_prefixes_are_the_fewest() -> None:
    assert list(port_prefixes(0, HIGHEST_PORT)) == [(0, 0)]
    assert list(port_prefixes(80, 80)) == [(16, 80)]
    assert list(port_prefixes(80, 83)) == [(14, 80)]
    assert list(port_prefixes(1024, HIGHEST_PORT)) == [
        (6, 1024), (5, 2048), (4, 4096), (3, 8192), (2, 16384), (1, 32768)
    ]  # fmt: skip
    assert len(list(port_prefixes(1, HIGHEST_PORT - 1))) == 30


DIGESTS = [digest_of(str(number)) for number in range(40)]


@given(st.lists(st.sampled_from(DIGESTS), max_size=60))
def test_numbers_depend_only_on_who_has_one(calls: list[bytes]) -> None:
    """In a space so small that most collide: each call takes a number or gives it back."""
    numbering = Numbering(256, 41)
    held: dict[bytes, int] = {}
    for digest in calls:
        if digest in held:
            del held[digest]
            changed = numbering.give_back(digest)
            assert digest not in changed
        else:
            changed = numbering.take(digest)
            assert digest in changed
        assert all(held.get(other) != number for other, number in changed.items())
        held |= changed
        assert held == {other: numbering.number(other) for other in held}
        assert len(set(held.values())) == len(held) == len(numbering)
        assert all(256 <= number < 297 for number in held.values())
    fresh = Numbering(256, 41)
    for digest in sorted(held, reverse=True):
        fresh.take(digest)
    assert held == {digest: fresh.number(digest) for digest in held}


def test_numbers_are_the_same_in_every_process() -> None:
    numbering = Numbering(256, (1 << 24) - 256)
    numbering.take(digest_of("app=web"))
    assert numbering.number(digest_of("app=web")) == 4064270


def test_more_things_than_numbers_are_told() -> None:
    numbering = Numbering(0, 2)
    numbering.take(DIGESTS[0])
    numbering.take(DIGESTS[1])
    with pytest.raises(Full, match="more than 2"):
        numbering.take(DIGESTS[2])


LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xyz"))
REQUIREMENTS = st.one_of(
    st.builds(
        Requirement,
        st.sampled_from("abc"),
        st.sampled_from([Operator.IN, Operator.NOT_IN]),
        st.frozensets(st.sampled_from("xyz"), min_size=1),
    ),
    st.builds(
        Requirement,
        st.sampled_from("abc"),
        st.sampled_from([Operator.EXISTS, Operator.DOES_NOT_EXIST]),
    ),
)
SELECTORS = st.lists(REQUIREMENTS, max_size=3).map(lambda some: Selector(tuple(some)))


@given(st.lists(st.tuples(SELECTORS, st.booleans()), max_size=12), LABELS)
def test_selectors_are_found_by_labels(
    filed: list[tuple[Selector, bool]], labels: dict[str, str]
) -> None:
    index: SelectorIndex[int] = SelectorIndex()
    for number, (selector, _) in enumerate(filed):
        index.add(selector, number)
    for number, (selector, stays) in enumerate(filed):
        if not stays:
            index.remove(selector, number)
    found = list(index.matching(labels))
    wanted = {n for n, (selector, stays) in enumerate(filed) if stays and selector.matches(labels)}
    assert set(found) == wanted
    assert len(found) == len(wanted)


@given(st.lists(st.tuples(LABELS, st.booleans()), max_size=12), SELECTORS)
def test_labels_are_found_by_a_selector(
    filed: list[tuple[dict[str, str], bool]], selector: Selector
) -> None:
    index: LabelIndex[int] = LabelIndex()
    for number, (labels, _) in enumerate(filed):
        index.add(labels, number)
    for number, (_, stays) in enumerate(filed):
        if not stays:
            index.remove(number)
    found = list(index.matching(selector))
    wanted = {n for n, (labels, stays) in enumerate(filed) if stays and selector.matches(labels)}
    assert set(found) == wanted
    assert len(found) == len(wanted)


def test_a_selector_costs_what_shares_its_rarest_label() -> None:
    """A label that all have is not where a selector with another one is looked for."""
    index: SelectorIndex[int] = SelectorIndex()
    everywhere = Requirement("namespace", Operator.IN, frozenset({"default"}))
    for number in range(100):
        own = Requirement("app", Operator.IN, frozenset({f"app-{number}"}))
        index.add(Selector((everywhere, own)), number)
    tried: list[str] = []

    class Watched(dict[str, str]):
        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            tried.append(key)
            return super().get(key)

    assert list(index.matching(Watched(namespace="default", app="app-7"))) == [7]
    assert tried.count("app") <= 2


V4 = "0.0.0.0/0 10.0.0.0/8 10.0.0.0/9 10.128.0.0/9 10.0.0.1/32"
V6 = "::/0 fd00::/8 fd00::/64 fd00::1/128"
NETWORKS = st.sampled_from(f"{V4} {V6}".split()).map(parse_network)
ADDRESSES = st.sampled_from(["10.0.0.1", "10.200.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"])


@given(st.sets(NETWORKS), st.sets(NETWORKS), ADDRESSES.map(parse_address), NETWORKS)
def test_networks_around(
    held: set[Network], gone: set[Network], address: Address, network: Network
) -> None:
    table: PrefixTable[Network] = PrefixTable()
    for one in held | gone:
        table.set(one, one)
    for one in gone:
        table.remove(one)
    left = held - gone
    around = sorted((n for n in left if address in n), key=lambda n: -n.prefixlen)
    assert list(table.around(address)) == around
    outside = sorted((n for n in left if covers(n, network)), key=lambda n: -n.prefixlen)
    assert list(table.around_network(network)) == outside
    assert {n for n in left if table.get(n) == n} == left
    assert all(table.get(n) is None for n in gone)


SPANS = st.tuples(st.sampled_from([6, 17]), st.integers(0, 60), st.integers(0, 60)).map(
    lambda span: (span[0], min(span[1:]), max(span[1:]))
)
COVERED = st.none() | st.lists(SPANS, max_size=3).map(tuple)


@settings(max_examples=200)
@given(
    st.lists(st.tuples(COVERED, st.sampled_from([None, "a", "b"])), max_size=6),
    st.integers(1, 5),
    st.booleans(),
)
def test_a_table_says_what_its_rules_say_at_every_port(
    rules: list[tuple[tuple[tuple[int, int, int], ...] | None, str | None]],
    distinct: int,
    cut: bool,
) -> None:
    def decide(places: tuple[int, ...], is_cut: bool) -> Verdict:
        name = f"{[place % distinct for place in places]} {is_cut}"
        return Verdict(PolicyAction.ALLOW, RuleRef(PolicyRef("Policy", "", name), ""))

    cuts = ((17, 53, 53),) if cut else ()
    table = partition((Covering(n, *rule) for n, rule in enumerate(rules)), decide, cuts)
    for protocol in (1, 6, 17):
        for port in (*range(62), HIGHEST_PORT):
            places: list[int] = []
            kinds: set[str] = set()
            for place, (spans, kind) in enumerate(rules):
                if spans is None or any(p == protocol and a <= port <= b for p, a, b in spans):
                    if kind not in kinds:
                        places.append(place)
                    kinds |= {kind} if kind else set()
            said = decide(tuple(places), cut and (protocol, port) == (17, 53))
            assert table.at(protocol, port) == said
    for one, other in zip(table.ranges, table.ranges[1:], strict=False):
        assert (one.protocol, one.last) < (other.protocol, other.first)
        touching = one.protocol == other.protocol and one.last + 1 == other.first
        assert not touching or one.verdict != other.verdict
    assert all(found.verdict != table.rest for found in table.ranges)
