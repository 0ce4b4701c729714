"""What a DaemonSet's template was before: for `kubectl rollout history` and `undo`.

    DaemonSet, hash of its template, ControllerRevisions  ->  one more, or one moved to the front

Invariants  The template of now has the highest number; older ones go beyond revisionHistoryLimit.
Standards   Kubernetes apps/v1 ControllerRevision; `data` is the patch that brings a template back
"""

from cairn.drive.kube_client import ApiError
from cairn.kube.metadata import key_of
from cairn.kube.resource import CONTROLLER_REVISIONS
from cairn.lab.controllers.world import Raw, World, owner_reference

_KEPT = 10
"""What revisionHistoryLimit is if not set."""


async def keep_revision(world: World, owner: Raw, label: str, word: str) -> None:
    """Have the owner's template, whose hash is `word`, recorded as its latest revision."""
    known = world.owned(CONTROLLER_REVISIONS, owner["metadata"]["uid"])
    known.sort(key=lambda revision: int(revision["revision"]))
    latest = int(known[-1]["revision"]) if known else 0
    for revision in known:
        if revision["metadata"]["labels"].get(label) == word:
            if revision["revision"] != latest:
                patch = {"revision": latest + 1}
                await world.patch(CONTROLLER_REVISIONS, key_of(revision), patch)
            break
    else:
        await _create(world, _revision(owner, label, word, latest + 1))
    limit = owner["spec"].get("revisionHistoryLimit")
    olds = [r for r in known if r["metadata"]["labels"].get(label) != word]
    for revision in olds[: max(0, len(olds) - (_KEPT if limit is None else limit))]:
        await world.delete(CONTROLLER_REVISIONS, revision)


async def _create(world: World, revision: Raw) -> None:
    """Create a revision, or adopt the one of a DaemonSet that went and left its own behind."""
    try:
        await world.create(CONTROLLER_REVISIONS, revision)
    except ApiError as error:
        if error.status != 409:
            raise
        mine = {"ownerReferences": revision["metadata"]["ownerReferences"]}
        patch = {"metadata": mine, "revision": revision["revision"]}
        await world.patch(CONTROLLER_REVISIONS, key_of(revision), patch)


def _revision(owner: Raw, label: str, word: str, number: int) -> Raw:
    metadata, template = owner["metadata"], owner["spec"]["template"]
    labels = (template.get("metadata") or {}).get("labels") or {}
    return {
        "apiVersion": CONTROLLER_REVISIONS.api_version,
        "kind": CONTROLLER_REVISIONS.kind,
        "metadata": {
            "namespace": metadata["namespace"],
            "name": f"{metadata['name']}-{word}",
            "labels": {**labels, label: word},
            "ownerReferences": [owner_reference(owner)],
        },
        "revision": number,
        "data": {"spec": {"template": {**template, "$patch": "replace"}}},
    }
