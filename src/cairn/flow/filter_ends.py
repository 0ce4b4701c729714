"""Fields of flow filters about who is at an end, and about nodes.

    alternatives  ->  Term, or BadFilter

Each entry of the dictionaries is judged once (key_test.py).
"""

from collections.abc import Callable, Sequence
from typing import Any

from cairn.flow.bad_filter import BadFilter
from cairn.flow.columns import Dictionaries, End
from cairn.flow.filter_term import Compile, Term
from cairn.flow.key_test import KeyTest
from cairn.flow.label_selector import parse_label_selector, split_label
from cairn.flow.regex import any_name, any_node


def of_end(column: str, prepare: Callable[[Any, str], Callable[[End], bool]]) -> Compile:
    """Return a test of one end of a flow."""

    def build(wanted: Any, dictionaries: Dictionaries, cluster: str) -> Term:
        test = prepare(wanted, cluster)
        judge = KeyTest(dictionaries.ends, test, test(End()))
        return lambda records: judge(records[column])

    return build


def _names(texts: Sequence[str]) -> Callable[[str, str], bool]:
    """Return a test of namespace and name."""
    wanted: list[tuple[str, str]] = []
    for text in texts:
        if not text:
            raise BadFilter("an empty name: write namespace/prefix, namespace/ or /prefix")
        namespace, slash, prefix = text.partition("/")
        wanted.append((namespace, prefix.split("/")[0]) if slash else ("default", text))

    def holds(namespace: str, name: str) -> bool:
        if not namespace and not name:
            return False
        return any(name.startswith(prefix) and asked in ("", namespace) for asked, prefix in wanted)

    return holds


def pods(texts: Sequence[str], _: str) -> Callable[[End], bool]:
    holds = _names(texts)
    return lambda end: holds(end.namespace, end.pod)


def services(texts: Sequence[str], _: str) -> Callable[[End], bool]:
    holds = _names(texts)
    return lambda end: bool(end.service) and holds(end.namespace, end.service)


def fqdns(texts: Sequence[str], _: str) -> Callable[[End], bool]:
    holds = any_name(texts)
    return lambda end: any(holds(name.rstrip(".").lower()) for name in end.names)


def labels(texts: Sequence[str], _: str) -> Callable[[End], bool]:
    holds = _label_test(texts)
    return lambda end: holds(end.labels)


def _label_test(texts: Sequence[str]) -> Callable[[Sequence[str]], bool]:
    selectors = [parse_label_selector(text) for text in texts]

    def holds(labels: Sequence[str]) -> bool:
        split = [split_label(label) for label in labels]
        return any(selector.matches(split) for selector in selectors)

    return holds


def workloads(wanted: Sequence[tuple[str, str]], _: str) -> Callable[[End], bool]:
    return lambda end: (
        bool(end.workload)
        and any(
            name in ("", end.workload) and kind in ("", end.workload_kind) for name, kind in wanted
        )
    )


def clusters(names: Sequence[str], cluster: str) -> Callable[[End], bool]:
    if "" in names:
        raise BadFilter("an empty name of a cluster")
    return lambda end: bool(end.pod or end.node) and cluster in names


def of_node(texts: Sequence[str], dictionaries: Dictionaries, cluster: str) -> Term:
    holds = any_node(texts)
    judge = KeyTest(
        dictionaries.nodes,
        lambda name: bool(name) and holds(name if "/" in name else f"{cluster}/{name}"),
        nothing=False,
    )
    return lambda records: judge(records["node"])


def node_labels(texts: Sequence[str], dictionaries: Dictionaries, _: str) -> Term:
    holds = _label_test(texts)
    judge = KeyTest(dictionaries.node_labels, holds, holds(()))
    return lambda records: judge(records["node"])
