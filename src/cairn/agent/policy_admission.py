"""A new pod's way in: whose it is, and the wait until its policy is in force.

    PodEndpoint  ->  its Workload (seen, or asked for)  ->  in force, or NotAdmitted

Invariants  A pod is admitted when each of its addresses is under its own policy.
            Nothing waits longer than PATIENCE_S: the runtime is told to try again.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator

from cairn.agent.policy_pods import PolicyPods, pod_key
from cairn.desired.endpoint import PodEndpoint
from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key, metadata_of
from cairn.kube.policy.workload import Workload
from cairn.kube.resource import PODS
from cairn.net import Address

PATIENCE_S = 10.0
NOT_FOUND = 404


class NotAdmitted(Exception):
    """A pod whose policy could not be brought into force in time."""


class Admission:
    """Lets pods in."""

    def __init__(self, client: Client, pods: PolicyPods) -> None:
        self._client = client
        self._pods = pods
        self._waiting: dict[asyncio.Future[None], PodEndpoint] = {}
        self.on_wire: Callable[[Key], None] = lambda _: None
        """Called with a pod whose wire is to be looked at."""

    async def admit(self, endpoint: PodEndpoint) -> None:
        """Return when the pod's policy is in force; raises NotAdmitted."""
        name = f"{endpoint.namespace}/{endpoint.pod}" if endpoint.pod else endpoint.container_id
        try:
            async with asyncio.timeout(PATIENCE_S):
                workload = self._pods.known(endpoint) or await self._ask(endpoint)
                self._pods.wire(endpoint, workload)
                self.on_wire(pod_key(endpoint))
                with self._waits(endpoint) as admitted:
                    await admitted
        except TimeoutError as error:
            raise NotAdmitted(
                f"the policy of pod {name} is not in force after {PATIENCE_S:.0f} s: try again"
            ) from error
        except ApiError as error:
            raise NotAdmitted(f"whose pod {name} is cannot be found out: {error}") from error

    def look(self, is_open: Callable[[Address], bool]) -> None:
        """Let those in whose policy is in force."""
        for future, endpoint in tuple(self._waiting.items()):
            if not future.done() and all(map(is_open, endpoint.addresses)):
                future.set_result(None)

    async def _ask(self, endpoint: PodEndpoint) -> Workload:
        """Return the pod as the API server has it."""
        obj = await self._client.get(PODS, pod_key(endpoint))
        uid = metadata_of(obj).uid
        if endpoint.uid and uid != endpoint.uid:
            raise NotAdmitted(
                f"pod {pod_key(endpoint)} has uid {uid}, not {endpoint.uid}: it was replaced"
            )
        return Workload.from_object(obj)

    @contextlib.contextmanager
    def _waits(self, endpoint: PodEndpoint) -> Iterator[asyncio.Future[None]]:
        future = asyncio.get_running_loop().create_future()
        self._waiting[future] = endpoint
        try:
            yield future
        finally:
            del self._waiting[future]
