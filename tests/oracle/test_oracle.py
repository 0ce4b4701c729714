"""What policies are compiled to is what the standards' texts say, in random worlds.

CAIRN_ORACLE is how many cases are asked in all (20,000); seeds are the same each time.
"""

import os
from collections import Counter
from dataclasses import replace
from ipaddress import ip_address
from random import Random

import pytest
from compiled import POLICY_KINDS, Compiled, compiled, named
from random_world import questions, random_world
from shrink import as_yaml, shrunk
from standards import PASSES, answer
from world import Answer, Object, Question, World

from cairn.abi.structs import PolicyAction
from cairn.desired.policy import Verdict

CASES = int(os.environ.get("CAIRN_ORACLE", "20000"))
PER_WORLD = 20
CHUNKS = 8
WORLDS = -(-CASES // PER_WORLD // CHUNKS)
RARE = ("proxy", "deny", "allow", "default deny")
LEAST = {"allow": 0.2, "default deny": 0.1, "deny": 0.02, "proxy": 0.004}
"""Share of the cases that must have each answer, or the worlds are too dull to prove anything."""


def cases(world: World, seed: int) -> list[Question]:
    """Return questions about a world, without most of those on which no policy bears."""
    candidates = [(answer(world, asked), asked) for asked in questions(world, seed, PER_WORLD * 4)]
    telling = [pair for pair in candidates if pair[0] != Answer("allow")]
    telling.sort(key=lambda pair: RARE.index(pair[0].action))
    dull = [asked for found, asked in candidates if found == Answer("allow")]
    kept = [asked for _, asked in telling]
    return (kept[: PER_WORLD * 3 // 4] + dull + kept)[:PER_WORLD]


def wrong(expected: Answer, found: Answer) -> bool:
    """Return whether an answer is not the expected one, or given for another reason."""
    if found.because and found.because <= expected.instead and found.action == "deny":
        return False
    passes = expected.by_name and found.action in PASSES
    if expected.action != found.action and not passes:
        return True
    if not found.because:
        return bool(expected.because) and expected.isolated
    return not found.because <= expected.because


def differs(world: World, asked: Question) -> bool:
    """Return whether a world compiled from nothing answers wrongly."""
    return wrong(answer(world, asked), compiled(world).answer(asked))


def smallest(world: World, asked: Question) -> str:
    """Return the report of a wrong answer, with the smallest world that shows it."""
    least = shrunk(world, lambda smaller: differs(smaller, asked))
    return (
        f"{asked}\nthe standards: {answer(least, asked)}\n"
        f"compiled: {compiled(least).verdict(asked)}\n{as_yaml(least)}"
    )


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_compiled_verdicts_are_what_the_texts_say(chunk: int) -> None:
    seen: Counter[str] = Counter()
    for seed in range(chunk * WORLDS, (chunk + 1) * WORLDS):
        world = random_world(seed)
        product = compiled(world)
        for asked in cases(world, seed):
            expected = answer(world, asked)
            seen[expected.action] += 1
            if wrong(expected, product.answer(asked)):
                pytest.fail(f"seed {seed}: {smallest(world, asked)}")
    total = seen.total()
    assert total == WORLDS * PER_WORLD
    assert {action: share for action, share in LEAST.items() if seen[action] < share * total} == {}


def test_without_a_node_of_its_own_nobody_is_the_host() -> None:
    """As the commands ask, which run on no node: of the pods of all nodes."""
    for seed in range(100):
        world = replace(random_world(seed), here="")
        product = compiled(world)
        for asked in cases(world, seed):
            if wrong(answer(world, asked), product.answer(asked)):
                pytest.fail(f"seed {seed}: {smallest(world, asked)}")


@pytest.mark.parametrize("chunk", range(4))
def test_audited_policies_are_judged_and_not_enforced(chunk: int) -> None:
    """Only the worlds that have policies in audit mode; names are asked in force only."""
    told = 0
    for seed in range(chunk * 200, chunk * 200 + 200):
        world = replace(random_world(seed), learnt={})
        if "audit-mode" not in str(world.objects):
            continue
        product = compiled(world)
        for asked in cases(world, seed):
            enforced, tried = answer(world, asked), answer(world, asked, audit=True)
            verdict = product.verdict(asked)
            said = as_audited(verdict)
            if (enforced.action in PASSES) != (tried.action in PASSES):
                told += 1
                assert (said in PASSES) == (tried.action in PASSES), f"seed {seed}: {asked}"
                assert verdict.audit is not None, f"seed {seed}: {asked}: {verdict}"
                assert named(verdict.audit[1]) <= tried.because, f"seed {seed}: {asked}"
            elif enforced.action != "proxy":
                assert said in (tried.action, None), f"seed {seed}: {asked}: {verdict}, {tried}"
    assert told > 20


def as_audited(verdict: Verdict) -> str | None:
    """Return what would have been decided, None if the same."""
    if verdict.audit is None:
        return None
    names = {PolicyAction.ALLOW: "allow", PolicyAction.PROXY: "proxy"}
    return names.get(verdict.audit[0], "deny")


@pytest.mark.parametrize("chunk", range(4))
def test_the_order_of_changes_does_not_matter(chunk: int) -> None:
    """The engine is fed as a watch would, with much that is taken back, and asked now and then."""
    for seed in range(chunk * 30, chunk * 30 + 30):
        world = random_world(seed)
        product = told_at_random(world, seed)
        fresh = compiled(world)
        assert product.engine.identities() == fresh.engine.identities(), f"seed {seed}"
        assert product.engine.subjects() == fresh.engine.subjects(), f"seed {seed}"
        for identity in fresh.engine.subjects():
            again = product.engine.policy_of(identity)
            assert again == fresh.engine.policy_of(identity), f"seed {seed}: identity {identity}"
        for asked in cases(world, seed):
            if wrong(answer(world, asked), product.answer(asked)):
                pytest.fail(f"seed {seed}: told at random: {asked}\n{as_yaml(world)}")


def told_at_random(world: World, seed: int) -> Compiled:
    """Return an engine that heard of the world's objects by detours."""
    random = Random(seed)
    product = Compiled(world.here, world.learnt)
    strangers = random_world(seed + 1_000_000).objects
    events: list[tuple[str, Object]] = []
    for item in world.objects:
        before = [other for other in strangers if same_object(other, item)]
        if before and random.random() < 0.5:
            events.append(("put", before[0]))
        elif random.random() < 0.2:
            events += [("put", item), ("drop", item)]
    passing = [
        other for other in strangers if not any(same_object(other, o) for o in world.objects)
    ]
    events += [("put", other) for other in passing]
    random.shuffle(events)
    known: list[Object] = []
    for how, item in events:
        if how == "put":
            product.put(item)
            known.append(item)
        elif item in known:
            product.drop(item)
            known.remove(item)
        if random.random() < 0.1:
            product.engine.changes()
            for identity in product.engine.subjects():
                product.engine.policy_of(identity)
    product.engine.put_apiserver([ip_address("203.0.113.7")])
    last = [("put", item) for item in world.objects] + [("drop", item) for item in passing]
    random.shuffle(last)
    for how, item in last:
        (product.put if how == "put" else product.drop)(item)
        if random.random() < 0.1:
            product.engine.changes()
    product.engine.put_apiserver([ip_address(text) for text in world.apiserver])
    return product


def same_object(one: Object, other: Object) -> bool:
    """Return whether two are versions of one object."""
    names = [
        (item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"])
        for item in (one, other)
    ]
    return names[0] == names[1]


def test_every_language_is_asked_about() -> None:
    kinds = Counter(
        item["kind"]
        for seed in range(200)
        for item in random_world(seed).objects
        if item["kind"] in POLICY_KINDS
    )
    assert set(kinds) == set(POLICY_KINDS)
    assert min(kinds.values()) > 50
