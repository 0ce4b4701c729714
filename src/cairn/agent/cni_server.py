"""The agent's side of the CNI plugin: pods come and go over a unix socket.

    one JSON line {"command", "containerID", "netns", "ifname", "args", "config"}
    ->  one JSON line {"result"} or {"error": {"code", "msg", "details"}}

Invariants  Calls are served one at a time: the kernel's link table is the shared state.
            ADD with a known container and interface returns what stands, so a retry is harmless.
            Every call is answered, whatever goes wrong.
            ADD answers when the pod's policy is in force; until then the pod is closed.
Standards   CNI specification 1.1: commands, result and error types, well-known codes
Not here    The plugin itself (cairn.cni), the wiring (apply.pod_link).
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from cairn.agent.endpoint_store import EndpointStore
from cairn.agent.policy_admission import NotAdmitted
from cairn.apply import pod_link
from cairn.compile.pod_ipam import Exhausted, next_address
from cairn.desired.endpoint import PodEndpoint
from cairn.libbpf import BpfError
from cairn.net import Network
from cairn.netlink.iproute import NetlinkError

CODE_INVALID = 7
CODE_TRY_AGAIN = 11
CODE_FAILED = 100
MAX_LINE_BYTES = 1 << 20
NEEDED: dict[str, tuple[str, ...]] = {
    "ADD": ("containerID", "ifname", "netns"),
    "DEL": ("containerID", "ifname"),
    "CHECK": ("containerID", "ifname"),
}
"""What a call must say, by its command."""

log = logging.getLogger(__name__)


class CniError(Exception):
    """A call that cannot be honoured, with CNI's code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class CniServer:
    """Serves CNI calls for one node."""

    def __init__(
        self,
        store: EndpointStore,
        networks: tuple[Network, ...],
        *,
        mtu_bytes: Callable[[], int],
        on_create: Callable[[PodEndpoint], None],
        on_add: Callable[[PodEndpoint], None],
        on_delete: Callable[[PodEndpoint], None],
        admit: Callable[[PodEndpoint], Awaitable[None]],
        report: Callable[[], Any] = dict,
        flows: Callable[[Mapping[str, Any]], dict[str, Any]] = dict,
        trace: Callable[[Mapping[str, Any], asyncio.StreamWriter], Awaitable[None]] | None = None,
    ) -> None:
        """Three are called in a thread: `on_create` before a pod's link passes anything, `on_add`
        once it is wired, `on_delete` before it is unwired. `admit` returns when the pod's policy
        is in force, or raises NotAdmitted.
        """
        self._on_create = on_create
        self._store = store
        self._networks = networks
        self._mtu_bytes = mtu_bytes
        self._on_add = on_add
        self._on_delete = on_delete
        self._admit = admit
        self._report = report
        self._flows = flows
        self._trace = trace
        self._turn = asyncio.Lock()

    async def serve(self, path: Path) -> asyncio.Server:
        """Listen on the unix socket `path`; a leftover of a dead agent is replaced."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        return await asyncio.start_unix_server(self._connection, path, limit=MAX_LINE_BYTES)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            line = await reader.readline()
            call = _call(line)
            if call.get("command") == "TRACE" and self._trace is not None:  # not CNI's either
                await self._until_gone(reader, self._trace(call, writer))
                writer.close()
                return
            reply = await self._reply(call)
        except (ValueError, OSError) as error:
            reply = _error(CODE_INVALID, f"unreadable CNI call: {error}")
        try:
            writer.write(json.dumps(reply).encode() + b"\n")
            await writer.drain()
        except OSError as error:
            log.warning("a CNI caller went before its answer: %s", error)
        finally:
            writer.close()

    async def _until_gone(self, reader: asyncio.StreamReader, work: Awaitable[None]) -> None:
        """Work until it is done, or the caller has gone."""
        doing = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(reader.read())
        try:
            await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (doing, gone):
                task.cancel()
            for result in await asyncio.gather(doing, gone, return_exceptions=True):
                if isinstance(result, Exception):
                    log.warning("a trace ended: %s", result)

    async def _reply(self, call: Mapping[str, Any]) -> dict[str, Any]:
        handlers = {"ADD": self._add, "DEL": self._delete, "CHECK": self._check, "GC": self._gc}
        command = str(call.get("command"))
        if command == "STATUS":
            return {"result": {}}
        if command == "REPORT":  # not CNI's: `cairn report` asks how the agent is
            return self._told()
        if command == "FLOWS":  # nor is this: `cairn why` asks what was seen
            return self._flows(call)
        handler = handlers.get(command)
        if handler is None:
            return _error(CODE_INVALID, f"unknown CNI command {command!r}")
        try:
            async with self._turn:
                result = await asyncio.to_thread(handler, call)
            if command == "ADD":
                await self._let_in(call)
        except CniError as error:
            return _error(error.code, str(error))
        except (Exhausted, NotAdmitted) as error:
            return _error(CODE_TRY_AGAIN, str(error))
        except (pod_link.WiringFailed, BpfError, NetlinkError, OSError) as error:
            log.error("CNI %s of %s failed: %s", command, call.get("containerID"), error)
            return _error(CODE_FAILED, str(error))
        return {"result": result}

    def _told(self) -> dict[str, Any]:
        try:
            return {"result": self._report()}
        except (BpfError, OSError) as error:
            return _error(CODE_FAILED, str(error))

    async def _let_in(self, call: Mapping[str, Any]) -> None:
        """Wait until the pod's policy is in force; without it, the pod is unwired again.

        Others have their turn meanwhile.
        """
        endpoint = self._store.get(call["containerID"], call["ifname"])
        if endpoint is None:  # a DEL overtook it
            raise CniError(CODE_TRY_AGAIN, f"container {call['containerID']} was deleted meanwhile")
        try:
            await self._admit(endpoint)
        except NotAdmitted:
            async with self._turn:
                if self._store.get(call["containerID"], call["ifname"]) == endpoint:
                    await asyncio.to_thread(self._remove, endpoint)
            raise

    def _add(self, call: Mapping[str, Any]) -> dict[str, Any]:
        known = self._store.get(call["containerID"], call["ifname"])
        if known and known.netns == call["netns"] and is_whole(known):
            return _result(call, known)
        if known:
            self._remove(known)
        endpoint = self._new_endpoint(call)
        self._store.put(endpoint)
        made = [endpoint]

        def before_up(created: PodEndpoint) -> None:
            made.append(created)
            self._on_create(created)

        try:
            wired = pod_link.connect(endpoint, mtu_bytes=self._mtu_bytes(), before_up=before_up)
            self._store.put(wired)
            self._on_add(wired)
        except BaseException:
            self._remove(made[-1])
            raise
        log.info(
            "pod %s/%s wired: %s on %s",
            wired.namespace,
            wired.pod,
            ", ".join(map(str, wired.addresses)),
            wired.host_ifname,
        )
        return _result(call, wired)

    def _new_endpoint(self, call: Mapping[str, Any]) -> PodEndpoint:
        names = _arguments(call.get("args") or "")
        used, last = self._store.used(), self._store.last
        addresses = tuple(
            next_address(network, used, next((a for a in last if a in network), None))
            for network in self._networks
        )
        self._store.last = addresses
        return PodEndpoint(
            container_id=call["containerID"],
            ifname=call["ifname"],
            netns=call["netns"],
            namespace=names.get("K8S_POD_NAMESPACE", ""),
            pod=names.get("K8S_POD_NAME", ""),
            uid=names.get("K8S_POD_UID", ""),
            addresses=addresses,
            host_ifname=pod_link.host_name_of(call["containerID"], call["ifname"]),
            host_mac=pod_link.random_mac(),
            mac=pod_link.random_mac(),
            host_ifindex=0,
        )

    def _delete(self, call: Mapping[str, Any]) -> dict[str, Any]:
        known = self._store.get(call["containerID"], call["ifname"])
        if known:
            self._remove(known)
        else:
            pod_link.disconnect(pod_link.host_name_of(call["containerID"], call["ifname"]))
        return {}

    def _check(self, call: Mapping[str, Any]) -> dict[str, Any]:
        known = self._store.get(call["containerID"], call["ifname"])
        if known is None or not is_whole(known):
            raise CniError(CODE_FAILED, f"container {call['containerID']} is not wired: delete it")
        return {}

    def _gc(self, call: Mapping[str, Any]) -> dict[str, Any]:
        config = call.get("config") or {}
        listed = config.get("cni.dev/valid-attachments", config.get("cni.dev/attachments"))
        if not isinstance(listed, list):
            # Without the list every pod would be taken for garbage.
            raise CniError(CODE_INVALID, "GC without the list cni.dev/valid-attachments")
        valid = {(e.get("containerID"), e.get("ifname")) for e in listed if isinstance(e, dict)}
        for endpoint in self._store:
            if (endpoint.container_id, endpoint.ifname) not in valid:
                self._remove(endpoint)
        return {}

    def _remove(self, endpoint: PodEndpoint) -> None:
        self._on_delete(endpoint)
        pod_link.disconnect(endpoint.host_ifname)
        self._store.remove(endpoint)
        log.info("pod %s/%s unwired", endpoint.namespace, endpoint.pod)


def is_whole(endpoint: PodEndpoint) -> bool:
    """Return whether the pod was wired to the end: an agent that died on the way left no index."""
    return endpoint.host_ifindex > 0 and pod_link.is_connected(endpoint)


def _call(line: bytes) -> dict[str, Any]:
    """Return the call; raises ValueError with what is missing."""
    call = json.loads(line)
    if not isinstance(call, dict):
        raise ValueError("not a JSON object")
    needed = NEEDED.get(str(call.get("command")), ())
    missing = [name for name in needed if not isinstance(call.get(name), str) or not call[name]]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing")
    return call


def _arguments(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(";") if "=" in part)


def _result(call: Mapping[str, Any], endpoint: PodEndpoint) -> dict[str, Any]:
    gateways = {4: pod_link.GATEWAY_V4, 6: pod_link.GATEWAY_V6}
    defaults = {4: "0.0.0.0/0", 6: "::/0"}
    return {
        "cniVersion": (call.get("config") or {}).get("cniVersion", "1.0.0"),
        "interfaces": [
            {"name": endpoint.host_ifname, "mac": endpoint.host_mac},
            {"name": endpoint.ifname, "mac": endpoint.mac, "sandbox": endpoint.netns},
        ],
        "ips": [
            {
                "address": f"{address}/{address.max_prefixlen}",
                "gateway": gateways[address.version],
                "interface": 1,
            }
            for address in endpoint.addresses
        ],
        "routes": [{"dst": defaults[a.version]} for a in endpoint.addresses],
    }


def _error(code: int, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "msg": message, "details": ""}}
