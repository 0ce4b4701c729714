"""Policies with mistakes: a reader returns policies or InvalidPolicy, and never overlooks a field.

Recipes and random policies are mutated; seeds are the same each time. CAIRN_ORACLE / 4 mutants.
"""

import os
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from random_policy import Dice, random_policy
from world import Object

from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import InvalidPolicy, Policy

RECIPES = sorted((Path(__file__).parent / "recipes").glob("*.yaml"))
MUTANTS = int(os.environ.get("CAIRN_ORACLE", "20000")) // 4
FREE = ("matchLabels", "annotations", "labels")
"""Mappings whose keys are the user's own."""
JUNK: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    65536,
    2**70,
    1.5,
    float("nan"),
    "",
    "*",
    "a b",
    "\x00",
    "ü",
    "x" * 300,
    "::ffff:1.2.3.4/99",
    "10.0.0.0/33",
    [],
    [None],
    [[]],
    [{}],
    {},
    {"": ""},
    {"key": {}},
)


def policies() -> list[Object]:
    """Return what is mutated."""
    written = [item for path in RECIPES for item in yaml.safe_load_all(path.read_text())]
    dice = Dice(Random(0))
    return [*written, *(random_policy(dice, number, number) for number in range(300))]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every key and item below `value`."""
    if isinstance(value, dict):
        inner: list[tuple[Any, Any]] = list(value.items())
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


def holder_of(item: Object, path: tuple[Any, ...]) -> Any:
    """Return what holds the last step of a path."""
    holder: Any = item
    for step in path[:-1]:
        holder = holder[step]
    return holder


def renamed(item: Object, random: Random) -> tuple[Object, str] | None:
    """Return the policy with one field of its spec called otherwise, and which."""
    fields = [
        path
        for word in ("spec", "specs")
        for path in places(item.get(word), (word,))
        if isinstance(path[-1], str) and not set(path[:-1]) & set(FREE)
    ]
    if not fields:
        return None
    path = random.choice(fields)
    mutant = deepcopy(item)
    holder = holder_of(mutant, path)
    word = path[-1]
    name = random.choice((word + "s", word[:-1] or "x", word.upper(), word.swapcase(), "x" + word))
    holder[name] = holder.pop(word)
    return mutant, f"{'.'.join(map(str, path))} as {name}"


def spoilt(item: Object, random: Random) -> Object:
    """Return the policy with one value replaced by junk, left out, repeated or moved."""
    mutant = deepcopy(item)
    path = random.choice(list(places(mutant)))
    holder = holder_of(mutant, path)
    how = random.randrange(4)
    if how == 0:
        del holder[path[-1]]
    elif how == 1 and isinstance(holder, list):
        holder.append(deepcopy(holder[path[-1]]))
    elif how == 2:
        other = random.choice(list(places(item)))
        holder[path[-1]] = deepcopy(holder_of(item, other)[other[-1]])
    else:
        holder[path[-1]] = deepcopy(random.choice(JUNK))
    return mutant


def outcome(item: Object) -> str:
    """Return `invalid` if that is said in one line, or `valid` if the reader returned policies."""
    try:
        read = read_policies(item)
    except InvalidPolicy as error:
        said_well = error.path and error.reason and "\n" not in str(error)
        return "invalid" if said_well else f"badly said: {error}"
    assert all(isinstance(policy, Policy) for policy in read)
    return "valid"


def test_what_is_mutated_is_valid() -> None:
    assert {outcome(item) for item in policies()} == {"valid"}


@pytest.mark.parametrize("chunk", range(4))
def test_a_field_that_is_not_known_is_never_overlooked(chunk: int) -> None:
    known = policies()
    random = Random(chunk)
    renames = 0
    for _ in range(MUTANTS // 4):
        made = renamed(random.choice(known), random)
        if made is None:
            continue
        mutant, what = made
        assert outcome(mutant) == "invalid", f"{what}: {mutant}"
        renames += 1
    assert renames > MUTANTS // 8


@pytest.mark.parametrize("chunk", range(4))
def test_whatever_stands_there_the_reader_says_what_is_wrong(chunk: int) -> None:
    known = policies()
    random = Random(chunk)
    seen = {"valid": 0, "invalid": 0}
    for _ in range(MUTANTS // 4):
        mutant = spoilt(random.choice(known), random)
        try:
            seen[outcome(mutant)] += 1
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error}: {mutant}")
    assert min(seen.values()) > MUTANTS // 40
