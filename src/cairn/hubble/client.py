"""Asks a server of Hubble's API.

    Server  ->  Hubble: flows(), status(), nodes(), namespaces(), peers(), healthy()

Invariants  What fails is NoAnswer: one line that says where and why.
            Calls are made in the thread that asks; Ctrl-C ends a stream at once.
Cost        45 us a flow, printing included (10,000 flows: 0.6 s of one core, 0.2 s of it to start)
Standards   Cilium api/v1: observer.Observer, peer.Peer; gRPC health checking v1
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from cairn.hubble.proto import message

PORT = 4245
ANSWER_S = 10.0
_NO_METHOD = "Method not found!"
"""What gRPC says if a server does not."""
_OPTIONS = (
    # Without it every flow passes from gRPC's thread to ours: twice the cost.
    ("SingleThreadedUnaryStream", 1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.min_reconnect_backoff_ms", 5000),
)


class NoAnswer(Exception):
    """There is no answer; the text says why."""

    def __init__(self, text: str, *, wrong_question: bool = False, gone: bool = False) -> None:
        super().__init__(text)
        self.wrong_question = wrong_question
        """Whether what was asked is at fault."""
        self.gone = gone
        """Whether nobody answers there."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server proves who it is, and we do; files, PEM."""

    authorities: tuple[str, ...] = ()
    """Certificates to trust; none: those that the machine trusts."""
    certificate: str = ""
    """Our own, if the server asks for one."""
    key: str = ""
    """Its key."""
    name: str = ""
    """Name in the server's certificate; empty: that of its address."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server is."""

    address: str
    """host:port, unix:/path; tls://host:port for TLS."""
    tls: Tls | None = None
    """None: in the clear."""


class Hubble:
    """One server."""

    def __init__(self, server: Server, name: str = "") -> None:
        """Take where it is, and what to call that; raises NoAnswer for keys that are none."""
        target, tls = _target(server)
        self.address = name or target
        """As people are told."""
        self._channel = _channel(target, tls)

    def __enter__(self) -> "Hubble":
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def flows(self, request: Any) -> Iterator[Any]:
        """Yield each GetFlowsResponse; raises NoAnswer."""
        return self._stream("observer.Observer/GetFlows", request, "observer.GetFlowsResponse")

    def agent_events(self, request: Any) -> Iterator[Any]:
        """Yield each GetAgentEventsResponse; raises NoAnswer."""
        method = "observer.Observer/GetAgentEvents"
        return self._stream(method, request, "observer.GetAgentEventsResponse")

    def peers(self) -> Iterator[Any]:
        """Yield each peer.ChangeNotification, without end; raises NoAnswer."""
        request = message("peer.NotifyRequest")()
        return self._stream("peer.Peer/Notify", request, "peer.ChangeNotification")

    def status(self, timeout_s: float = ANSWER_S) -> Any:
        """Return observer.ServerStatusResponse; raises NoAnswer."""
        return self._ask("ServerStatus", timeout_s)

    def nodes(self) -> Any:
        """Return observer.GetNodesResponse; raises NoAnswer."""
        return self._ask("GetNodes")

    def namespaces(self) -> Any:
        """Return observer.GetNamespacesResponse; raises NoAnswer."""
        return self._ask("GetNamespaces")

    def health(self) -> str:
        """Return what the server says of its health: SERVING, …; raises NoAnswer."""
        method = "grpc.health.v1.Health/Check"
        request, answer = health_pb2.HealthCheckRequest(), health_pb2.HealthCheckResponse
        found = self._unary(method, request, answer, ANSWER_S)
        return str(answer.ServingStatus.Name(found.status))

    def _ask(self, name: str, timeout_s: float = ANSWER_S) -> Any:
        request = message(f"observer.{name}Request")()
        answer = message(f"observer.{name}Response")
        return self._unary(f"observer.Observer/{name}", request, answer, timeout_s)

    def _unary(self, method: str, request: Any, answer: Any, timeout_s: float) -> Any:
        call = self._channel.unary_unary(
            f"/{method}", type(request).SerializeToString, answer.FromString
        )
        try:
            return call(request, timeout=timeout_s)
        except grpc.RpcError as error:
            raise self._failure(method, error) from None

    def _stream(self, method: str, request: Any, answer: str) -> Iterator[Any]:
        call = self._channel.unary_stream(
            f"/{method}", type(request).SerializeToString, message(answer).FromString
        )
        stream = call(request)
        try:
            yield from stream
        except grpc.RpcError as error:
            raise self._failure(method, error) from None
        finally:
            stream.cancel()

    def _failure(self, method: str, error: Any) -> NoAnswer:
        code, said = error.code(), " ".join(str(error.details() or "").split())
        match code:
            case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
                why = said.removeprefix("failed to connect to all addresses; ")
                text = f"no Hubble server answers at {self.address}: {why[:200]}"
                return NoAnswer(text, gone=True)
            case grpc.StatusCode.UNIMPLEMENTED if said in ("", _NO_METHOD):
                return NoAnswer(f"the server at {self.address} does not have {method}")
            case grpc.StatusCode.INVALID_ARGUMENT:
                return NoAnswer(said, wrong_question=True)
        return NoAnswer(f"the server at {self.address}: {said or code.name}")


def _target(server: Server) -> tuple[str, Tls | None]:
    """Return the address as gRPC takes it, and the keys."""
    scheme, mark, rest = server.address.rpartition("://")
    tls = server.tls
    if mark and scheme == "unix":
        return f"unix:{rest}", tls
    if mark and scheme not in ("tcp", "tls"):
        text = f"server {server.address!r}: write HOST:PORT, tls://HOST:PORT or unix:/path"
        raise NoAnswer(text, wrong_question=True)
    address = rest if mark else server.address
    if address.startswith(("unix:", "unix-abstract:")):
        return address, tls
    if not address.rpartition(":")[2].isdecimal() or address.endswith("]"):
        address = f"{address}:{PORT}"
    return address, (tls or Tls()) if scheme == "tls" else tls


def _channel(address: str, tls: Tls | None) -> Any:
    if tls is None:
        return grpc.insecure_channel(address, _OPTIONS)
    try:
        authorities = b"".join(Path(path).read_bytes() for path in tls.authorities) or None
        key = Path(tls.key).read_bytes() if tls.key else None
        certificate = Path(tls.certificate).read_bytes() if tls.certificate else None
    except OSError as error:
        raise NoAnswer(f"{error.filename}: {error.strerror}", wrong_question=True) from None
    credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
    options: list[tuple[str, int | str]] = list(_OPTIONS)
    if tls.name:
        options.append(("grpc.ssl_target_name_override", tls.name))
    return grpc.secure_channel(address, credentials, options)
