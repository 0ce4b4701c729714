"""`cairn relay`: the flows of all nodes together, and their history.

arguments, API server, agents  ->  Hubble's gRPC API and the history's, on one port
"""

import argparse
import asyncio
import logging
import re
from dataclasses import dataclass
from pathlib import Path

import grpc

from cairn.drive.daemon import run_daemon
from cairn.drive.kube_client import Client
from cairn.drive.metrics_page import serve_metrics
from cairn.flow.store import FlowStore
from cairn.hubble.server import OPTIONS, hubble_handlers
from cairn.hubble.tls import ClientFiles, ServerFiles, server_credentials
from cairn.relay.history.keeper import History
from cairn.relay.history.state import Rules
from cairn.relay.history_service import history_handler
from cairn.relay.metrics import families
from cairn.relay.nodes import follow_nodes
from cairn.relay.observed import ObservedRelay
from cairn.relay.relay import Relay

log = logging.getLogger(__name__)
LISTEN = "[::]:4245"
FLOWS = 262_144
GRACE_S = 1.0
_SIZE = re.compile(r"(\d{1,6})(KiB|MiB|GiB|TiB)")
_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


@dataclass(frozen=True, slots=True)
class Tls:
    """Files for TLS, PEM; empty: none."""

    certificate: str
    """Shown to clients."""
    key: str
    """Of the certificate."""
    clients: str
    """Authorities of clients that may ask; empty: any."""
    agents: str
    """Authorities of the agents; empty: they are asked without TLS."""
    own: str = ""
    """Shown to agents."""
    own_key: str = ""
    """Of that certificate."""


@dataclass(frozen=True, slots=True)
class Served:
    """What is served, and where."""

    listen: str
    """Address and port of the gRPC API."""
    tls: Tls
    metrics: int
    """Port; 0: none."""


def main(argv: list[str]) -> int:
    """Run the relay until SIGTERM; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="cairn relay", description="Joins the flows of all nodes, and keeps their history."
    )
    add = parser.add_argument
    add("--kubeconfig", help="file (default: $KUBECONFIG, or the pod's account)")
    add("--listen", default=LISTEN, help=f"address and port of the gRPC API ({LISTEN})")
    add("--flows", type=_count, default=FLOWS, help=f"flows to hold in memory ({FLOWS})")
    add("--history", type=Path, metavar="DIR", help="keep a history there; without it, none")
    add("--keep-days", type=_days, default=7, help="flows older than this go (7)")
    add("--keep-bytes", type=_size, default=10 << 30, help="beyond this the oldest go (10GiB)")
    add("--tls-cert", default="", metavar="FILE", help="certificate of the API: TLS")
    add("--tls-key", default="", metavar="FILE", help="its key")
    add("--tls-client-ca", default="", metavar="FILE", help="authorities of clients: mTLS")
    add("--tls-agent-ca", default="", metavar="FILE", help="authorities of agents that use TLS")
    add("--tls-agent-cert", default="", metavar="FILE", help="certificate that agents are shown")
    add("--tls-agent-key", default="", metavar="FILE", help="its key")
    add("--metrics", type=int, default=0, metavar="PORT",
        help="of GET /metrics (usual: 9966; default: none)")  # fmt: skip
    add("--verbose", action="store_true", help="log details")
    args = parser.parse_args(argv)
    if bool(args.tls_cert) != bool(args.tls_key):
        parser.error("--tls-cert and --tls-key belong together")
    if args.tls_client_ca and not args.tls_cert:
        parser.error("--tls-client-ca needs --tls-cert and --tls-key")
    if bool(args.tls_agent_cert) != bool(args.tls_agent_key):
        parser.error("--tls-agent-cert and --tls-agent-key belong together")
    if args.tls_agent_cert and not args.tls_agent_ca:
        parser.error("--tls-agent-cert needs --tls-agent-ca")
    history = None
    if args.history:
        rules = Rules(keep_days=args.keep_days, keep_bytes=args.keep_bytes)
        history = History(args.history, rules)
    tls = Tls(
        args.tls_cert,
        args.tls_key,
        args.tls_client_ca,
        args.tls_agent_ca,
        args.tls_agent_cert,
        args.tls_agent_key,
    )
    return run_daemon(
        "cairn relay",
        _run(
            args.kubeconfig, Served(args.listen, tls, args.metrics), FlowStore(args.flows), history
        ),
        verbose=args.verbose,
    )


async def _run(
    kubeconfig: str | None, served: Served, store: FlowStore, history: History | None
) -> None:
    if history is not None:
        await history.open()
    grown = asyncio.Event()
    tls = served.tls
    relay = Relay(
        store,
        history,
        on_grown=grown.set,
        on_state=lambda _state: grown.set(),
        agents=ClientFiles(tls.agents, tls.own, tls.own_key) if tls.agents else None,
    )
    server = grpc.aio.server(options=OPTIONS)
    handlers = hubble_handlers(ObservedRelay(relay, grown))
    server.add_generic_rpc_handlers((history_handler(history), *handlers))
    bind(server, served.listen, served.tls)
    await server.start()
    secure = " by TLS" if served.tls.certificate else ""
    log.info("flows are served at %s%s", served.listen, secure)
    try:
        async with Client.connect(kubeconfig) as client, asyncio.TaskGroup() as group:
            if history is not None:
                group.create_task(history.run())
            group.create_task(relay.run())
            own = served.tls.certificate
            group.create_task(serve_metrics(lambda: families(relay, history, own), served.metrics))
            group.create_task(follow_nodes(client, relay.on_node, relay.on_gone))
    finally:
        await server.stop(GRACE_S)
        if history is not None:
            await history.close()


def bind(server: grpc.aio.Server, listen: str, tls: Tls) -> int:
    """Have the server listen, by TLS if there are keys; return its port. Raises OSError."""
    try:
        if tls.certificate:
            files = ServerFiles(tls.certificate, tls.key, tls.clients)
            bound = server.add_secure_port(listen, server_credentials(files))
        else:
            bound = server.add_insecure_port(listen)
    except RuntimeError:
        bound = 0
    if not bound:
        raise OSError(f"{listen} cannot be listened at: is it taken? choose another with --listen")
    return int(bound)


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 100_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 to 100000000")
    return int(text)


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = 0
    if not 0 < days <= 36_500:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days")
    return days


def _size(text: str) -> int:
    match = _SIZE.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: write 500MiB or 10GiB")
    return int(match[1]) * _UNITS[match[2]]
