"""`cairn hubble disable`: removes the relay from the cluster; the history on its disk stays.

packaged manifest  ->  objects deleted, the last first, until its pod is gone
"""

import argparse
import asyncio
import sys
import time

from cairn.cli.cluster_objects import connect
from cairn.cli.hubble_enable import manifest
from cairn.cli.relay_pod import LOOK, RELAYS
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.kubeconfig import NoAccess
from cairn.kube.metadata import key_of
from cairn.kube.resource import PODS
from cairn.lab.manifest import Catalogue
from cairn.lab.state import LabError

OK, FAILED = 0, 1
WAIT_S = 60.0
STEP_S = 0.2
_GONE = 404


def main(argv: list[str]) -> int:
    """Remove the relay; return 0 once it is gone."""
    parser = argparse.ArgumentParser(
        prog="cairn hubble disable",
        description="Remove the relay from the cluster. The history stays on its node's disk.",
    )
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
    options = parser.parse_args(argv)
    try:
        removed = asyncio.run(_remove(options.kubeconfig))
    except (ApiError, NoAccess, LabError) as error:
        print(f"cairn hubble disable: {error}", file=sys.stderr)
        return FAILED
    print("The relay is removed." if removed else "There was no relay.")
    return OK


async def _remove(kubeconfig: str | None) -> bool:
    removed = False
    async with connect(kubeconfig) as client:
        catalogue = Catalogue(client)
        for obj in reversed(manifest()):
            resource = await catalogue.find(obj["apiVersion"], obj["kind"])
            try:
                await client.delete(resource, key_of(obj))
                removed = True
            except ApiError as error:
                if error.status != _GONE:
                    raise
        await _wait_until_gone(client)
    return removed


async def _wait_until_gone(client: Client) -> None:
    end = time.monotonic() + WAIT_S
    while (await client.list(PODS, label_selector=RELAYS))[0]:
        if time.monotonic() > end:
            raise LabError(f"its pod is still there after {WAIT_S:.0f} s: see `{LOOK}`")
        await asyncio.sleep(STEP_S)
