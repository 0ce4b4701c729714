"""The kubelet's own HTTPS server, which the API server calls for logs, exec and port-forward.

    /containerLogs, /exec, /attach, /portForward, /pods, /healthz  ->  streams of containers

Invariants  Only clients with a certificate of the cluster's authority get past TLS.
            What a request lacks is answered by one line of text and a status that says whose fault.
Standards   Kubernetes kubelet API; protocols as in remote.py and port_forward.py
"""

import asyncio
import contextlib
import json
import logging
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cairn.lab.kubelet import sandbox, websocket
from cairn.lab.kubelet.container_view import ContainerView
from cairn.lab.kubelet.exec_session import serve_attach, serve_exec
from cairn.lab.kubelet.http_request import (
    MAX_HEAD_BYTES,
    Request,
    failure_response,
    read_request,
    response_head,
    text_response,
)
from cairn.lab.kubelet.kubelet import Kubelet
from cairn.lab.kubelet.log_reader import LogQuery, follow_log
from cairn.lab.kubelet.pipe import StreamPipe, WebSocketPipe
from cairn.lab.kubelet.pod_worker import PodWorker
from cairn.lab.kubelet.port_forward import serve_channels, serve_port_forward
from cairn.lab.kubelet.remote import (
    SPDY_PROTOCOLS,
    WEBSOCKET_PROTOCOLS,
    Channel,
    Remote,
    WebSocketRemote,
    spdy_remote,
)
from cairn.lab.kubelet.runtime import Running
from cairn.lab.kubelet.spdy_session import SpdySession
from cairn.wire import Malformed

PORT_FORWARD = "portforward.k8s.io"
TUNNEL = "SPDY/3.1+portforward.k8s.io"
CHANNELS = "v4.channel.k8s.io"

log = logging.getLogger(__name__)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Refused(Exception):
    """A request that gets no more than a line of text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Server:
    """Serves one node's containers."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._server: asyncio.Server | None = None

    async def listen(
        self, addresses: Sequence[str], port: int, context: ssl.SSLContext | None
    ) -> None:
        """Begin to serve; raises OSError if the port is taken."""
        self._server = await asyncio.start_server(
            self._connection, list(addresses), port, ssl=context, limit=MAX_HEAD_BYTES
        )

    def close(self) -> None:
        """Take no more connections."""
        if self._server:
            self._server.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read_request(reader)
            if request is not None:
                await self._route(request, (reader, writer))
        except Refused as refusal:
            writer.write(failure_response(refusal.status, str(refusal)))
        except Malformed as error:
            writer.write(failure_response(400, f"bad request: {error}"))
        except (OSError, asyncio.IncompleteReadError) as error:
            log.debug("connection lost: %s", error)
        except Exception:
            log.exception("a request failed")
        finally:
            with contextlib.suppress(OSError):
                await writer.drain()
                writer.close()
                await writer.wait_closed()

    async def _route(self, request: Request, streams: Streams) -> None:
        match request.path:
            case ("healthz",):
                streams[1].write(text_response(200, "ok"))
            case ("pods",):
                items = [worker.pod for worker in self._kubelet.workers.values()]
                body = {"kind": "PodList", "apiVersion": "v1", "items": items}
                streams[1].write(text_response(200, json.dumps(body)))
            case ("containerLogs", namespace, pod, container):
                await self._logs(request, self._view(namespace, pod, container), streams)
            case ("exec", namespace, pod, container):
                _, view = self._view(namespace, pod, container)
                await self._exec(request, view, streams)
            case ("attach", namespace, pod, container):
                _, view = self._view(namespace, pod, container)
                await self._attach(request, view, streams)
            case ("portForward", namespace, pod):
                await self._port_forward(request, self._worker(namespace, pod), streams)
            case _:
                raise Refused(404, f"no such path: /{'/'.join(request.path)}")

    def _worker(self, namespace: str, pod: str) -> PodWorker:
        worker = self._kubelet.find(namespace, pod)
        if worker is None:
            raise Refused(404, f'pod "{pod}" in namespace "{namespace}" is not on this node')
        return worker

    def _view(self, namespace: str, pod: str, container: str) -> tuple[PodWorker, ContainerView]:
        worker = self._worker(namespace, pod)
        for view in worker.views:
            if view.name == container:
                return worker, view
        names = ", ".join(view.name for view in worker.views)
        raise Refused(404, f'container "{container}" is not in pod "{pod}", which has: {names}')

    async def _logs(
        self, request: Request, found: tuple[PodWorker, ContainerView], streams: Streams
    ) -> None:
        worker, view = found
        metadata = worker.pod["metadata"]
        attempt = view.attempt
        if request.flag("previous"):
            attempt -= 1 if view.running else 0
            if attempt < 0 or (not view.running and view.last is None):
                text = f'previous terminated container "{view.name}" in pod "{metadata["name"]}"'
                raise Refused(400, text + " not found")
        elif not view.was_started:
            text = f'container "{view.name}" in pod "{metadata["name"]}" is waiting to start: '
            raise Refused(400, text + (view.waiting_message or view.waiting_reason))
        station = self._kubelet.station
        folder = station.places.logs(metadata["namespace"], metadata["name"], metadata["uid"])
        path = folder / view.name / f"{attempt}.log"
        head = {"Content-Type": "text/plain", "Transfer-Encoding": "chunked"}
        streams[1].write(response_head(200, head | {"Connection": "close"}))
        gone = asyncio.create_task(streams[0].read(1))

        def ended() -> bool:
            finished = view.running is None or view.attempt != attempt
            return gone.done() or finished or self._kubelet.workers.get(metadata["uid"]) is None

        try:
            async for text_ in follow_log(path, _log_query(request), ended):
                streams[1].write(b"%x\r\n%s\r\n" % (len(text_), text_))
                await streams[1].drain()
            streams[1].write(b"0\r\n\r\n")
        finally:
            gone.cancel()

    async def _exec(self, request: Request, view: ContainerView, streams: Streams) -> None:
        argv = request.query.get("command") or []
        if not argv:
            raise Refused(400, "exec: no command given")
        running = _running(view)
        remote = await _open_remote(request, streams)
        if remote is not None:
            await serve_exec(remote, running, argv, tty=request.flag("tty"))

    async def _attach(self, request: Request, view: ContainerView, streams: Streams) -> None:
        running = _running(view)
        remote = await _open_remote(request, streams)
        if remote is not None:
            await serve_attach(remote, running)

    async def _port_forward(self, request: Request, worker: PodWorker, streams: Streams) -> None:
        found = sandbox.load(self._kubelet.station.places, worker.pod["metadata"]["uid"])
        if found is None or not found.ready:
            raise Refused(409, f'pod "{worker.pod["metadata"]["name"]}" has no network yet')
        if TUNNEL in request.words("sec-websocket-protocol"):
            _upgrade_websocket(request, streams, TUNNEL)
            session = SpdySession(WebSocketPipe(StreamPipe(*streams)))
        elif CHANNELS in request.words("sec-websocket-protocol"):
            ports = _ports(request)
            _upgrade_websocket(request, streams, CHANNELS)
            await serve_channels(WebSocketPipe(StreamPipe(*streams)), ports, found.netns)
            return
        elif "upgrade" in request.headers:
            _upgrade_spdy(streams, PORT_FORWARD)
            session = SpdySession(StreamPipe(*streams))
        else:
            raise Refused(400, "port-forward: the request does not ask for an upgrade")
        await serve_port_forward(session, found.netns)


def _ports(request: Request) -> list[int]:
    """Return the ports that a WebSocket asks for; raises Refused."""
    texts = [word for text in request.query.get("port") or () for word in text.split(",")]
    if not texts or not all(text.isdecimal() and 0 < int(text) < 1 << 16 for text in texts):
        raise Refused(400, f"port-forward: {','.join(texts)!r} has no port from 1 to 65535")
    return list(map(int, texts))


def _running(view: ContainerView) -> Running:
    if view.running is None:
        why = view.waiting_message or view.waiting_reason or "it has ended"
        raise Refused(409, f'container "{view.name}" is not running: {why}')
    return view.running


def _log_query(request: Request) -> LogQuery:
    since = request.text("sinceTime") or ""
    seconds = request.number("sinceSeconds")
    if seconds is not None:
        moment = datetime.now(UTC) - timedelta(seconds=seconds)
        since = moment.strftime("%Y-%m-%dT%H:%M:%S.%f")
    return LogQuery(
        follow=request.flag("follow"),
        tail=request.number("tailLines"),
        since=since.rstrip("Z"),
        timestamps=request.flag("timestamps"),
        limit_bytes=request.number("limitBytes"),
    )


async def _open_remote(request: Request, streams: Streams) -> Remote | None:
    """Answer the upgrade and return the user's channels; raises Refused."""
    offered = request.words("sec-websocket-protocol")
    if "sec-websocket-key" in request.headers:
        chosen = next((name for name in WEBSOCKET_PROTOCOLS if name in offered), None)
        if chosen is None:
            raise Refused(403, f"no common protocol: this kubelet has {WEBSOCKET_PROTOCOLS}")
        _upgrade_websocket(request, streams, chosen)
        return WebSocketRemote(WebSocketPipe(StreamPipe(*streams)))
    offered = request.words("x-stream-protocol-version")
    if "upgrade" not in request.headers:
        raise Refused(400, "the request does not ask for an upgrade to SPDY/3.1 or WebSocket")
    chosen = next((name for name in SPDY_PROTOCOLS if name in offered), None)
    if chosen is None:
        raise Refused(403, f"no common protocol: this kubelet has {SPDY_PROTOCOLS}")
    _upgrade_spdy(streams, chosen)
    session = SpdySession(StreamPipe(*streams))
    remote = await spdy_remote(session, _wanted(request))
    if remote is None:
        await session.close()
    return remote


def _wanted(request: Request) -> set[Channel]:
    tty = request.flag("tty")
    wanted = {Channel.ERROR}
    for channel, names in (
        (Channel.STDIN, ("input", "stdin")),
        (Channel.STDOUT, ("output", "stdout")),
        (Channel.STDERR, () if tty else ("error", "stderr")),
    ):
        if request.flag(*names):
            wanted.add(channel)
    return wanted | {Channel.RESIZE} if tty else wanted


def _upgrade_spdy(streams: Streams, protocol: str) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "SPDY/3.1",
        "X-Stream-Protocol-Version": protocol,
    }
    streams[1].write(response_head(101, headers))


def _upgrade_websocket(request: Request, streams: Streams, protocol: str) -> None:
    keys = request.headers.get("sec-websocket-key")
    if not keys:
        raise Refused(400, "WebSocket: Sec-WebSocket-Key is missing")
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Accept": websocket.accept_key(keys[0]),
        "Sec-WebSocket-Protocol": protocol,
    }
    streams[1].write(response_head(101, headers))
