"""Manifests that a command is given: files, directories, standard input.

paths  ->  Manifests(objects, which of them name no namespace)

Raises  BadManifest, one line with the file and what is wrong
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cairn.diagnose.policy.world import Name, name_of
from cairn.kube import resource
from cairn.kube.metadata import Object

SUFFIXES = (".yaml", ".yml", ".json")
NAMESPACED = frozenset(
    {
        "StatefulSet",
        "Job",
        *(
            kind.kind
            for kind in (
                resource.PODS,
                resource.SERVICES,
                resource.ENDPOINTS,
                resource.CONFIG_MAPS,
                resource.SECRETS,
                resource.SERVICE_ACCOUNTS,
                resource.ENDPOINT_SLICES,
                resource.DEPLOYMENTS,
                resource.REPLICA_SETS,
                resource.DAEMON_SETS,
                *resource.POLICY_KINDS,
                *resource.STORED_KINDS,
            )
            if kind.namespaced
        ),
    }
)
"""Kinds whose objects live in a namespace."""


class BadManifest(ValueError):
    """A file that holds no objects; the text says which, and why."""


@dataclass(frozen=True, slots=True)
class Manifests:
    """What the files hold."""

    objects: tuple[Object, ...]
    """In order; those of kinds with namespaces have one."""
    unplaced: frozenset[Name]
    """Those that name none, and were given the default one."""


def read_manifests(paths: Sequence[str], namespace: str = "default") -> Manifests:
    """Return the objects of all files; raises BadManifest."""
    objects: list[Object] = []
    unplaced: set[Name] = set()
    for path in paths:
        for place, raw in _documents(path):
            obj, bare = _placed(raw, place, namespace)
            objects.append(obj)
            if bare:
                unplaced.add(name_of(obj))
    return Manifests(tuple(objects), frozenset(unplaced))


def _documents(path: str) -> Iterator[tuple[str, Any]]:
    if path == "-":
        yield from _parse("standard input", sys.stdin.read())
        return
    root = Path(path)
    if root.is_dir():
        files = sorted(f for f in root.rglob("*") if f.suffix in SUFFIXES and f.is_file())
        if not files:
            raise BadManifest(f"{path}: no file ends with {', '.join(SUFFIXES)}")
    else:
        files = [root]
    for file in files:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise BadManifest(f"{file}: {why}") from None
        yield from _parse(str(file), text)


def _parse(file: str, text: str) -> Iterator[tuple[str, Any]]:
    try:
        documents = list(yaml.load_all(text, Loader=_LOADER))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise BadManifest(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    for document in documents:
        if document is not None:
            yield from _items(file, document)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _items(file: str, document: Any) -> Iterator[tuple[str, Any]]:
    kind = document.get("kind") if isinstance(document, dict) else None
    if isinstance(kind, str) and kind.endswith("List") and isinstance(document.get("items"), list):
        for item in document["items"]:
            yield file, item
    else:
        yield file, document


def _placed(raw: Any, file: str, namespace: str) -> tuple[Object, bool]:
    """Return the object in its namespace, and whether it named none."""
    if not isinstance(raw, dict) or not isinstance(raw.get("kind"), str):
        raise BadManifest(f"{file}: not a Kubernetes object: kind is missing")
    metadata = raw.get("metadata")
    if metadata is None:
        metadata = {}
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name", ""), str):
        raise BadManifest(f"{file}: {raw['kind']}: metadata is no mapping with a name")
    if raw["kind"] in NAMESPACED and not metadata.get("namespace"):
        return {**raw, "metadata": {**metadata, "namespace": namespace}}, True
    return {**raw, "metadata": metadata}, False
