"""The objects of a cluster that policies depend on, read at once.

kubeconfig  ->  objects of every kind that matters
"""

import asyncio
from collections.abc import Iterable
from itertools import chain

from cairn.cli.render import lab_kubeconfig
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Object
from cairn.kube.resource import (
    BGP_PEERING_POLICIES,
    CIDR_GROUPS,
    CONFIG_MAPS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    L2_POLICIES,
    NAMESPACES,
    NODES,
    PODS,
    POLICY_KINDS,
    POOLS,
    REPLICA_SETS,
    SERVICES,
    STORED_KINDS,
    Resource,
)
from cairn.kube.unsupported import SETTINGS

POLICY_INPUTS = (
    NAMESPACES,
    NODES,
    PODS,
    SERVICES,
    ENDPOINT_SLICES,
    CIDR_GROUPS,
    DEPLOYMENTS,
    REPLICA_SETS,
    DAEMON_SETS,
    *POLICY_KINDS,
)
"""What verdicts follow from."""
LINTED = tuple(dict.fromkeys((POOLS, BGP_PEERING_POLICIES, L2_POLICIES, *STORED_KINDS)))
"""What else users write, and is looked at."""


def connect(kubeconfig: str | None) -> Client:
    """Return the client of the cluster that the user means."""
    return Client.connect(kubeconfig or lab_kubeconfig())


async def fetch(client: Client, kinds: Iterable[Resource]) -> list[Object]:
    """Return all objects of the kinds; a kind that the cluster does not know has none."""

    async def objects(resource: Resource) -> list[Object]:
        try:
            items, _ = await client.list(resource)
        except ApiError as error:
            if error.status == 404:
                return []
            raise
        return list(items)

    return list(chain(*await asyncio.gather(*map(objects, dict.fromkeys(kinds)))))


async def fetch_settings(client: Client) -> list[Object]:
    """Return the ConfigMap by which others are configured, if it is there."""
    namespace, name = SETTINGS
    selector = f"metadata.name={name}"
    items, _ = await client.list(CONFIG_MAPS, namespace=namespace, field_selector=selector)
    return list(items)


def read_cluster(kubeconfig: str | None, kinds: Iterable[Resource] = POLICY_INPUTS) -> list[Object]:
    """Return the objects of the cluster that the user means; raises ApiError, NoAccess."""

    async def run() -> list[Object]:
        async with connect(kubeconfig) as client:
            return await fetch(client, kinds)

    return asyncio.run(run())
