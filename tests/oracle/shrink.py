"""The smallest world in which something still holds.

world, condition  ->  world

Drops objects, then parts of policies, one at a time, for as long as the condition still holds.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import yaml
from world import Object, World

Holds = Callable[[World], bool]
WHOLE = ("kind", "apiVersion", "metadata", "podSelector", "endpointSelector", "nodeSelector")
"""Keys of an object that a policy cannot do without."""


def shrunk(world: World, holds: Holds) -> World:
    """Return a small world for which `holds` is still true."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in smaller_worlds(world):
            if still(holds, candidate):
                world, smaller = candidate, True
                break
    return world


def still(holds: Holds, world: World) -> bool:
    """Return whether the condition holds; a world that cannot be judged does not count."""
    try:
        return holds(world)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, StopIteration):
        return False


def smaller_worlds(world: World) -> Iterator[World]:
    """Yield worlds with something less."""
    for place in range(len(world.objects)):
        rest = [item for index, item in enumerate(world.objects) if index != place]
        yield World(world.here, rest, world.apiserver, world.learnt)
    if world.apiserver:
        yield World(world.here, world.objects, [], world.learnt)
    for address in world.learnt:
        rest_learnt = {a: names for a, names in world.learnt.items() if a != address}
        yield World(world.here, world.objects, world.apiserver, rest_learnt)
    for place, item in enumerate(world.objects):
        for less in smaller_objects(item):
            objects = [*world.objects]
            objects[place] = less
            yield World(world.here, objects, world.apiserver, world.learnt)


def smaller_objects(item: Object) -> Iterator[Object]:
    """Yield copies of an object with one part less."""
    for path in parts(item, ()):
        less = deepcopy(item)
        holder: Any = less
        for step in path[:-1]:
            holder = holder[step]
        del holder[path[-1]]
        yield less


def parts(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all parts that may be left out, the large ones first."""
    if isinstance(value, dict):
        inner: list[tuple[Any, Any]] = [(k, v) for k, v in value.items() if k not in WHOLE]
    elif isinstance(value, list):
        inner = list(enumerate(value))
    else:
        return
    yield from ((*path, key) for key, _ in inner)
    for key, part in inner:
        yield from parts(part, (*path, key))


def as_yaml(world: World) -> str:
    """Return a world as a person reads it."""
    facts = {"here": world.here, "apiserver": world.apiserver, "learnt": world.learnt}
    return str(yaml.safe_dump_all([facts, *world.objects], sort_keys=False))
