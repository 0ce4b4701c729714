"""A way to the relay through the cluster's API, while a command runs.

    kubeconfig  ->  Tunnel: a Unix socket in a folder that only this user may enter

Runs an event loop in a thread of its own: the command beside it asks and waits.
"""

import asyncio
import shutil
import tempfile
import threading
from pathlib import Path

from cairn.cli.cluster_objects import connect
from cairn.cli.relay_pod import LOOK, address_of, running_relays
from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess
from cairn.drive.pod_forward import PodForward

WAIT_S = 30.0


class NoTunnel(Exception):
    """There is no way to a relay; the text says why."""


class Tunnel:
    """A socket that leads to the relay."""

    def __init__(self, kubeconfig: str | None) -> None:
        self._kubeconfig = kubeconfig
        self._folder = Path(tempfile.mkdtemp(prefix="cairn-hubble-"))
        self._loop = asyncio.new_event_loop()
        self._end = asyncio.Event()
        self._up = threading.Event()
        self._forward: PodForward | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    @property
    def address(self) -> str:
        """Where to ask, as gRPC takes it."""
        return f"unix:{self._folder / 'relay.sock'}"

    @property
    def failed(self) -> str:
        """Why the way ended; empty: it did not, or nobody said."""
        return self._forward.failed if self._forward else ""

    def __enter__(self) -> "Tunnel":
        """Open it; raises NoTunnel."""
        self._thread.start()
        if not self._up.wait(WAIT_S):
            self._error = NoTunnel("the cluster's API does not answer")
        if self._error is not None:
            self.__exit__()
            raise self._error
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(WAIT_S)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _work(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except (ApiError, NoAccess, OSError, NoTunnel) as error:
            self._error = NoTunnel(str(error))
        finally:
            self._up.set()

    async def _serve(self) -> None:
        async with connect(self._kubeconfig) as client:
            running = await running_relays(client)
            if not running:
                raise NoTunnel(
                    "no relay runs in this cluster: start one with `cairn hubble enable`, "
                    f"or look with `{LOOK}`"
                )
            self._forward = PodForward(client, *address_of(running[0]))
            await self._forward.listen(self._folder / "relay.sock")
            self._up.set()
            await self._end.wait()
            await self._forward.close()
