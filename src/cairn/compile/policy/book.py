"""The policies in force, found by whom they select.

    Policy  ->  book  ->  policies that select labels; labels that a policy selects

Invariants  A policy that is disabled is not in the book.
"""

from collections.abc import Iterable, Iterator, Mapping

from cairn.compile.policy.selector_index import SelectorIndex
from cairn.kube.policy.rule import Policy, PolicyRef


class PolicyBook:
    """Policies by name and by selector."""

    def __init__(self) -> None:
        self._policies: dict[PolicyRef, Policy] = {}
        self._by_labels: SelectorIndex[PolicyRef] = SelectorIndex()
        self._of_nodes: dict[PolicyRef, None] = {}

    def get(self, ref: PolicyRef) -> Policy | None:
        """Return a policy by name."""
        return self._policies.get(ref)

    def those(self, refs: Iterable[PolicyRef]) -> list[Policy]:
        """Return policies by name."""
        return [self._policies[ref] for ref in refs]

    def put(self, policy: Policy) -> None:
        """Enter a policy that is not there."""
        self._policies[policy.ref] = policy
        if policy.subject is not None:
            self._by_labels.add(policy.subject, policy.ref)
        if policy.nodes is not None:
            self._of_nodes[policy.ref] = None

    def drop(self, policy: Policy) -> None:
        """Strike out a policy that is there."""
        del self._policies[policy.ref]
        if policy.subject is not None:
            self._by_labels.remove(policy.subject, policy.ref)
        self._of_nodes.pop(policy.ref, None)

    def of_pods(self, labels: Mapping[str, str]) -> Iterator[PolicyRef]:
        """Yield the policies that select pods with these flat labels."""
        return self._by_labels.matching(labels)

    def of_nodes(self, labels: Mapping[str, str]) -> Iterator[PolicyRef]:
        """Yield the policies that select a node with these labels."""
        for ref in self._of_nodes:
            nodes = self._policies[ref].nodes
            if nodes is not None and nodes.matches(labels):
                yield ref
