"""Who has policies on this node: the kinds of its pods, and the node itself.

    kinds of pods, policies  ->  subjects by identity, and which of them changed

Cost        a policy that comes or goes is compared with the labels of the subjects that it may
            select; a new subject with the policies that may select it
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from cairn.abi.structs import Identity
from cairn.compile.policy.book import PolicyBook
from cairn.compile.policy.pods import PodKind
from cairn.compile.policy.selector_index import LabelIndex
from cairn.compile.policy.subject import Subject
from cairn.kube.policy.rule import Policy, PolicyRef


class Subjects:
    """Every subject of this node."""

    def __init__(
        self, book: PolicyBook, own_labels: Callable[[], Mapping[str, str] | None]
    ) -> None:
        self._book = book
        self._own_labels = own_labels
        self._of_kinds: dict[PodKind, Subject] = {}
        self._by_labels: LabelIndex[Subject] = LabelIndex()
        self._by_number: dict[int, Subject] = {}
        self._touched: dict[Subject, None] = {}
        self._told: set[int] = set()
        self.host = Subject({}, (), is_node=True, on_touch=self._touch)
        self._set_numbers(self.host, frozenset({int(Identity.HOST)}))

    def __iter__(self) -> Iterator[Subject]:
        yield self.host
        yield from self._of_kinds.values()

    def by_number(self, identity: int) -> Subject | None:
        """Return the subject with an identity, None if there is none."""
        return self._by_number.get(identity)

    def numbers(self) -> frozenset[int]:
        """Return the identities of all subjects."""
        return frozenset(self._by_number)

    def kind_changed(self, kind: PodKind) -> None:
        """Follow which kinds have pods here, and which identities these have."""
        subject = self._of_kinds.get(kind)
        if not kind.local:
            if subject is not None:
                self._close(kind, subject)
            return
        if subject is None:
            subject = Subject(kind.labels, kind.ports, is_node=False, on_touch=self._touch)
            subject.policies.update(self._book.of_pods(kind.labels))
            self._of_kinds[kind] = subject
            self._by_labels.add(kind.labels, subject)
        self._set_numbers(subject, frozenset(group.number for group in kind.groups.values()))

    def renumbered(self) -> None:
        """Look again at who has which number."""
        for kind, subject in self._of_kinds.items():
            self._set_numbers(subject, frozenset(group.number for group in kind.groups.values()))

    def policy_added(self, policy: Policy) -> None:
        """Give a policy to whom it selects."""
        for subject in self._selected(policy):
            subject.policies.add(policy.ref)
            subject.invalidate()

    def policy_removed(self, policy: Policy) -> None:
        """Take a policy from whom it selects."""
        for subject in self._selected(policy):
            subject.policies.discard(policy.ref)
            subject.invalidate()

    def own_labels_changed(self) -> None:
        """Look again at which policies are about the node."""
        labels = self._own_labels()
        found = set(self._book.of_nodes(labels)) if labels is not None else set()
        if found != self.host.policies:
            self.host.policies = found
            self.host.invalidate()

    def policies_changed(self, refs: set[PolicyRef]) -> None:
        """Compile again who has one of these policies."""
        for subject in self:
            if not refs.isdisjoint(subject.policies):
                subject.invalidate()

    def take_changes(self) -> tuple[frozenset[int], frozenset[int]]:
        """Return the identities to compile again and those that are gone, and begin anew."""
        changed = frozenset(n for subject in self._touched for n in subject.numbers)
        gone = frozenset(self._told - self._by_number.keys())
        self._told = set(self._by_number)
        self._touched.clear()
        return changed, gone

    def _selected(self, policy: Policy) -> Iterable[Subject]:
        if policy.subject is not None:
            yield from tuple(self._by_labels.matching(policy.subject))
        labels = self._own_labels()
        if policy.nodes is not None and labels is not None and policy.nodes.matches(labels):
            yield self.host

    def _close(self, kind: PodKind, subject: Subject) -> None:
        self._set_numbers(subject, frozenset())
        self._touched.pop(subject, None)
        self._by_labels.remove(subject)
        del self._of_kinds[kind]
        subject.close()

    def _set_numbers(self, subject: Subject, numbers: frozenset[int]) -> None:
        if numbers == subject.numbers:
            return
        for number in subject.numbers - numbers:
            if self._by_number.get(number) is subject:
                del self._by_number[number]
        for number in numbers:
            self._by_number[number] = subject
        subject.numbers = numbers
        self._touch(subject)

    def _touch(self, subject: Subject) -> None:
        self._touched[subject] = None
