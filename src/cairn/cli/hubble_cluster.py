"""What `cairn hubble` asks of the cluster's API.

kubeconfig  ->  namespace and name of each pod
"""

from cairn.cli.cluster_objects import connect
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess
from cairn.kube.metadata import key_of
from cairn.kube.resource import PODS


async def pod_names(kubeconfig: str | None) -> list[tuple[str, str]] | None:
    """Return namespace and name of each pod; None if the API does not answer."""
    try:
        async with connect(kubeconfig) as client:
            pods, _ = await client.list(PODS)
    except (ApiError, NoAccess):
        return None
    return [(key.namespace, key.name) for key in map(key_of, pods)]
