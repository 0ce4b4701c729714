"""Which selectors hold for these labels, and which labels does this selector hold for.

    Selector, item  ->  SelectorIndex  ->  items whose selector matches labels
    labels, item    ->  LabelIndex     ->  items whose labels a selector matches

A selector is filed under one of its requirements: a key with values under each of these, a key
that must exist under the key, and one that has neither in a list that is always tried. Of several
requirements the one with the fewest neighbours is taken.

Cost        in proportion to what shares the rarest label, not to what there is
"""

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Generic, TypeVar

from cairn.kube.selector import Operator, Requirement, Selector

Item = TypeVar("Item", bound=Hashable)
Place = tuple[str, str | None]
"""A key with a value, or with None: whatever the value."""


class SelectorIndex(Generic[Item]):
    """Items by the selector that they hold."""

    def __init__(self) -> None:
        self._items: dict[Selector, set[Item]] = {}
        self._places: dict[Place, dict[Selector, None]] = {}
        self._rest: dict[Selector, None] = {}

    def add(self, selector: Selector, item: Item) -> None:
        """File an item."""
        items = self._items.get(selector)
        if items is None:
            items = self._items[selector] = set()
            self._file(selector)
        items.add(item)

    def remove(self, selector: Selector, item: Item) -> None:
        """Take an item out again."""
        items = self._items[selector]
        items.discard(item)
        if not items:
            del self._items[selector]
            self._unfile(selector)

    def matching(self, labels: Mapping[str, str]) -> Iterator[Item]:
        """Yield every item whose selector holds for `labels`."""
        for selector in self._candidates(labels):
            if selector.matches(labels):
                yield from self._items[selector]

    def _candidates(self, labels: Mapping[str, str]) -> Iterator[Selector]:
        for key, value in labels.items():
            yield from self._places.get((key, value), ())
            yield from self._places.get((key, None), ())
        yield from self._rest

    def _file(self, selector: Selector) -> None:
        choices = [places for r in selector.requirements if (places := _places_of(r))]
        if not choices:
            self._rest[selector] = None
            return
        best = min(choices, key=lambda places: sum(len(self._places.get(p, ())) for p in places))
        for place in best:
            self._places.setdefault(place, {})[selector] = None

    def _unfile(self, selector: Selector) -> None:
        self._rest.pop(selector, None)
        for place in chain.from_iterable(_places_of(r) for r in selector.requirements):
            filed = self._places.get(place)
            if filed is not None and selector in filed:
                del filed[selector]
                if not filed:
                    del self._places[place]


class LabelIndex(Generic[Item]):
    """Items by the labels that they carry."""

    def __init__(self) -> None:
        self._labels: dict[Item, Mapping[str, str]] = {}
        self._places: dict[Place, set[Item]] = {}

    def add(self, labels: Mapping[str, str], item: Item) -> None:
        """File an item."""
        self._labels[item] = labels
        for key, value in labels.items():
            self._places.setdefault((key, value), set()).add(item)
            self._places.setdefault((key, None), set()).add(item)

    def remove(self, item: Item) -> None:
        """Take an item out again."""
        for key, value in self._labels.pop(item).items():
            for place in ((key, value), (key, None)):
                filed = self._places[place]
                filed.discard(item)
                if not filed:
                    del self._places[place]

    def __iter__(self) -> Iterator[Item]:
        return iter(self._labels)

    def matching(self, selector: Selector) -> Iterator[Item]:
        """Yield every item for whose labels `selector` holds."""
        choices = [places for r in selector.requirements if (places := _places_of(r))]
        if choices:
            best = min(choices, key=lambda places: sum(len(self._at(place)) for place in places))
            found: Iterable[Item] = chain.from_iterable(map(self._at, best))
        else:
            found = self._labels
        for item in found:
            if selector.matches(self._labels[item]):
                yield item

    def _at(self, place: Place) -> Collection[Item]:
        return self._places.get(place, ())


def _places_of(requirement: Requirement) -> tuple[Place, ...]:
    """Return where a requirement can be filed: labels that meet it have one of these places."""
    match requirement.operator:
        case Operator.IN:
            return tuple((requirement.key, value) for value in requirement.values)
        case Operator.EXISTS:
            return ((requirement.key, None),)
        case _:
            return ()
