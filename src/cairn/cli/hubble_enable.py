"""`cairn hubble enable`: starts the relay in the cluster and waits until it serves.

    packaged manifest, the agents' own image  ->  objects  ->  a relay that answers

Invariants  What is there already is left as it is, and said; exit status 0.
"""

import argparse
import asyncio
import contextlib
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cairn.cli.cluster_objects import connect
from cairn.cli.hubble_reach import BY_API
from cairn.cli.hubble_tunnel import NoTunnel, Tunnel
from cairn.cli.relay_pod import LOOK, running_relays
from cairn.drive.kube_client import ApiError, Client
from cairn.drive.kubeconfig import NoAccess
from cairn.hubble.client import Hubble, NoAnswer, Server
from cairn.kube.metadata import Key
from cairn.kube.resource import DAEMON_SETS, DEPLOYMENTS
from cairn.lab.manifest import BUILT_IN, apply_objects, load_manifests
from cairn.lab.state import LabError

OK, FAILED = 0, 1
RELAY = Key("kube-system", "hubble-relay")
AGENTS = Key("kube-system", "cairn")
WAIT_S = 90.0
STEP_S = 0.2


class NotServing(Exception):
    """The relay does not answer; the text says what is known."""


def main(argv: list[str]) -> int:
    """Start the relay; return 0 once it serves."""
    parser = argparse.ArgumentParser(
        prog="cairn hubble enable", description="Start the relay, and wait until it serves."
    )
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the lab's")
    parser.add_argument("--timeout", type=float, default=WAIT_S, metavar="S",
                        help=f"how long to wait ({WAIT_S:.0f})")  # fmt: skip
    options = parser.parse_args(argv)
    try:
        there = asyncio.run(_apply(options.kubeconfig, options.timeout))
        status = _ask(options.kubeconfig, options.timeout)
    except (ApiError, NoAccess, LabError, NotServing) as error:
        print(f"cairn hubble enable: {error}", file=sys.stderr)
        return FAILED
    nodes = status.num_connected_nodes.value
    print(
        f"{'The relay is there already' if there else 'The relay serves'}: "
        f"{nodes} of {nodes + status.num_unavailable_nodes.value} nodes heard, "
        f"{status.num_flows} flows. Try: cairn hubble observe"
    )
    return OK


def manifest() -> list[dict[str, Any]]:
    """Return the relay's objects."""
    return load_manifests(BUILT_IN / "relay.yaml")


async def _apply(kubeconfig: str | None, timeout_s: float) -> bool:
    """Apply the objects unless they are there; wait for the pod; return whether they were."""
    async with connect(kubeconfig) as client:
        there = await _exists(client)
        if not there:
            await apply_objects(client, with_image(manifest(), await _image(client)))
        await _wait(lambda: _missing(client), timeout_s)
    return there


async def _exists(client: Client) -> bool:
    try:
        await client.get(DEPLOYMENTS, RELAY)
    except ApiError as error:
        if error.status == 404:
            return False
        raise
    return True


async def _image(client: Client) -> str:
    """Return the image that the cluster's agents run; empty if none do."""
    try:
        agents = await client.get(DAEMON_SETS, AGENTS)
    except ApiError as error:
        if error.status == 404:
            return ""
        raise
    containers = agents["spec"]["template"]["spec"]["containers"]
    return next((str(c["image"]) for c in containers if c.get("name") == "agent"), "")


def with_image(objects: list[dict[str, Any]], image: str) -> list[dict[str, Any]]:
    """Return the objects with the image put into every container; empty: as they are."""
    for obj in objects if image else ():
        template = (obj.get("spec") or {}).get("template") or {}
        for container in (template.get("spec") or {}).get("containers") or ():
            container["image"] = image
    return objects


async def _missing(client: Client) -> str:
    """Return what the relay still lacks; empty: nothing."""
    deployment = await client.get(DEPLOYMENTS, RELAY)
    if not (deployment.get("status") or {}).get("readyReplicas"):
        return "its pod is not ready"
    running = await running_relays(client)
    return "" if running else "its pod does not run"


async def _wait(missing: Callable[[], Awaitable[str]], timeout_s: float) -> None:
    with _progress("waits for the relay") as tell:
        end = time.monotonic() + timeout_s
        while lacking := await missing():
            tell(lacking)
            if time.monotonic() > end:
                raise NotServing(f"{lacking} after {timeout_s:.0f} s: see `{LOOK}`")
            await asyncio.sleep(STEP_S)


def _ask(kubeconfig: str | None, timeout_s: float) -> Any:
    """Return the relay's status, once it answers; raises NotServing."""
    end = time.monotonic() + timeout_s
    with _progress("waits for its answer") as tell:
        while True:
            try:
                with Tunnel(kubeconfig) as tunnel, Hubble(Server(tunnel.address), BY_API) as hubble:
                    return hubble.status()
            except (NoAnswer, NoTunnel) as error:
                tell(str(error))
                if time.monotonic() > end:
                    raise NotServing(f"{error}; see `{LOOK}`") from None
            time.sleep(STEP_S)


@contextlib.contextmanager
def _progress(what: str) -> Any:
    """Yield what tells how far it is: one line that is written over, on a terminal."""
    shows = sys.stderr.isatty()
    begun = time.monotonic()

    def tell(lacking: str) -> None:
        if shows:
            passed = time.monotonic() - begun
            print(f"\r\x1b[K{what} ({passed:.0f} s): {lacking[:80]}", end="", file=sys.stderr)

    if not shows:
        print(f"{what} …", file=sys.stderr)
    try:
        yield tell
    finally:
        if shows:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
