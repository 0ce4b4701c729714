"""Manifests: read from files, sent to the API server in the order they stand.

    folder of YAML  ->  objects  ->  created, or patched where they exist

Invariants  Names of resources come from the server's discovery, so any kind that it serves works.
            Each object says what was applied, as `kubectl apply` has it, which goes on from there.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import key_of
from cairn.kube.resource import Resource
from cairn.lab.state import LabError

BUILT_IN = Path(__file__).parent / "manifests"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
BY_HAND = frozenset({"io.cilium/lb-ipam-ips"})
"""Labels that count as set by `kubectl label`: the user's own manifest of the Service may lack
them, and applying it must not take the Service's address away."""
_CONFLICT = 409


class Catalogue:
    """The kinds that one server serves, asked for group by group when first needed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._kinds: dict[str, dict[str, Resource]] = {}

    async def find(self, api_version: str, kind: str) -> Resource:
        """Return the resource of a kind; raises LabError if the server has none."""
        if kind not in self._kinds.get(api_version, {}):
            self._kinds[api_version] = await self._ask(api_version)
        try:
            return self._kinds[api_version][kind]
        except KeyError:
            raise LabError(f"the API server has no kind {kind} in {api_version}") from None

    async def _ask(self, api_version: str) -> dict[str, Resource]:
        group, _, version = api_version.rpartition("/")
        path = f"/apis/{api_version}" if group else f"/api/{version}"
        try:
            answer = await self._client.request("GET", path)
        except ApiError as error:
            raise LabError(f"the API server has no {api_version}: {error}") from None
        return {
            row["kind"]: Resource(group, version, row["name"], row["kind"], row["namespaced"])
            for row in answer["resources"]
            if "/" not in row["name"]
        }


def load_manifests(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a YAML file, or of all in a folder in the order of their names."""
    if path.is_dir():
        files = sorted([*path.glob("*.yaml"), *path.glob("*.yml"), *path.glob("*.json")])
        if not files:
            raise LabError(f"{path}: no .yaml, .yml or .json file is in it")
        return [obj for file in files for obj in load_manifests(file)]
    try:
        documents = [d for d in yaml.safe_load_all(path.read_text()) if d is not None]
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise LabError(f"{path}: {' '.join(str(error).split())}") from None
    return [obj for document in documents for obj in _objects(document, path)]


async def apply_objects(
    client: Client, objects: Iterable[dict[str, Any]], *, update: bool = True
) -> int:
    """Create each object; patch it if it is there, or with `update` false leave it alone.

    Returns how many objects there were.
    """
    catalogue = Catalogue(client)
    count = 0
    for obj in objects:
        resource = await catalogue.find(obj["apiVersion"], obj["kind"])
        await apply_object(client, resource, obj, update=update)
        count += 1
    return count


async def apply_object(
    client: Client, resource: Resource, obj: dict[str, Any], *, update: bool = True
) -> None:
    """Create one object; if it is there, patch it or leave it alone."""
    if resource.namespaced and not obj["metadata"].get("namespace"):
        obj = obj | {"metadata": obj["metadata"] | {"namespace": "default"}}
    obj = with_last_applied(obj)
    try:
        try:
            await client.create(resource, obj)
        except ApiError as error:
            if error.status != _CONFLICT:
                raise
            if update:
                await client.patch(resource, key_of(obj), obj)
    except ApiError as error:
        raise LabError(f"{resource.kind} {key_of(obj)}: {error}") from None


def with_last_applied(obj: dict[str, Any]) -> dict[str, Any]:
    """Return the object with the annotation by which `kubectl apply` finds what was removed."""
    # An empty `labels` here would have kubectl delete all labels when the user's has none.
    metadata = obj["metadata"]
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(LAST_APPLIED, None)
    labels = metadata.get("labels") or {}
    told = {key: labels[key] for key in labels if key not in BY_HAND}
    applied = {key: value for key, value in metadata.items() if key != "labels"}
    applied |= {"annotations": annotations} | ({"labels": told} if told else {})
    text = json.dumps(obj | {"metadata": applied}, separators=(",", ":"), sort_keys=True) + "\n"
    return obj | {"metadata": metadata | {"annotations": annotations | {LAST_APPLIED: text}}}


def _objects(document: Any, path: Path) -> list[dict[str, Any]]:
    if isinstance(document, dict) and document.get("kind") == "List":
        return [obj for item in document.get("items") or [] for obj in _objects(item, path)]
    if not isinstance(document, dict) or not document.get("apiVersion") or not document.get("kind"):
        raise LabError(f"{path}: an object lacks apiVersion or kind")
    if not isinstance(document.get("metadata"), dict):
        raise LabError(f"{path}: {document['kind']} without metadata")
    return [document]
