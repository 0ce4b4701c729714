"""The kinds that are served, and how paths, storage and CustomResourceDefinitions find them.

    BUILTIN, CustomResourceDefinitions  ->  Registry.find(group, version, plural)  ->  Kind

Invariants  All versions of a group's plural share one table of the store.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from cairn.apiserver.builtin import BUILTIN
from cairn.apiserver.crd import kind_from_crd
from cairn.apiserver.kind import Kind

CRDS = "customresourcedefinitions.apiextensions.k8s.io"


def resource_of(kind: Kind) -> str:
    """Return the name of the kind's table in the store."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


class Registry:
    """What is served now."""

    def __init__(self, builtin: Iterable[Kind] = BUILTIN) -> None:
        self._builtin = {(k.group, k.version, k.plural): k for k in builtin}
        self._kinds = dict(self._builtin)
        self.generation = 0
        """Counts the changes of what is served."""

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """Return the kind behind a path."""
        return self._kinds.get((group, version, plural))

    def all(self) -> list[Kind]:
        """Return every kind that is served."""
        return list(self._kinds.values())

    def of_resource(self, resource: str) -> Kind | None:
        """Return a kind that a table of the store holds."""
        plural, _, group = resource.partition(".")
        return next((k for k in self.all() if (k.plural, k.group) == (plural, group)), None)

    def versions(self, group: str) -> list[str]:
        """Return the group's versions, the preferred one first."""
        found = {kind.version for kind in self.all() if kind.group == group}
        return sorted(found, key=_version_rank)

    def groups(self) -> list[str]:
        """Return every group but the core, in order."""
        return sorted({kind.group for kind in self.all()} - {""})

    def define(self, crds: Iterable[Mapping[str, Any]]) -> None:
        """Serve exactly the builtin kinds and those that the given definitions make."""
        kinds = dict(self._builtin)
        for crd in crds:
            for kind in kinds_of(crd):
                kinds.setdefault((kind.group, kind.version, kind.plural), kind)
        self._kinds = kinds
        self.generation += 1


def kinds_of(crd: Mapping[str, Any]) -> list[Kind]:
    """Return the kinds of all served versions of a definition."""
    versions = [v for v in crd["spec"]["versions"] if v.get("served", True)]
    return [kind_from_crd(dict(crd), version["name"]) for version in versions]


def _version_rank(version: str) -> tuple[int, int, int]:
    """Sort v2 before v1 before v1beta2 before v1beta1 before v1alpha1 (Kubernetes' own order)."""
    for rank, word in enumerate(("", "beta", "alpha")):
        major, found, minor = (
            version.removeprefix("v").partition(word)
            if word
            else (version.removeprefix("v"), "", "0")
        )
        if major.isdigit() and (minor or "0").isdigit() and (found or not word):
            return rank, -int(major), -int(minor or 0)
    return 3, 0, 0
