"""Reaches a server of Hubble's API: where the user says, or where one is.

    options  ->  Hubble

Without --server: localhost:4245 if Hubble answers there (a `kubectl port-forward` of the user's),
else the relay, through the cluster's API.
"""

import argparse
import contextlib
import importlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from cairn.hubble.client import PORT, Hubble, NoAnswer, Server, Tls

HERE = f"localhost:{PORT}"
"""Where `kubectl port-forward -n kube-system svc/hubble-relay 4245:80` has the relay."""
BY_API = "svc/hubble-relay (through the cluster's API)"
LOOK_S = 0.3
ANSWER_S = 2.0


def add_reach(parser: argparse.ArgumentParser) -> None:
    """Add where the server is."""
    group = parser.add_argument_group("where to ask")
    add = group.add_argument
    add("--server", default=os.environ.get("HUBBLE_SERVER", ""), metavar="ADDRESS",
        help="HOST:PORT, tls://HOST:PORT or unix:/path (default: $HUBBLE_SERVER, else "
        f"{HERE} if Hubble answers there, else the relay through the cluster's API)")  # fmt: skip
    add("--tls", action="store_true", help="speak TLS with it")
    add("--tls-ca-cert-files", action="append", default=[], metavar="FILE,…",
        help="certificates to trust (default: those the machine trusts)")  # fmt: skip
    add("--tls-client-cert-file", default="", metavar="FILE", help="our certificate, for mTLS")
    add("--tls-client-key-file", default="", metavar="FILE", help="its key")
    add("--tls-server-name", default="", metavar="NAME", help="that its certificate must have")
    add("--kubeconfig", help="default: $KUBECONFIG, else the lab's")


def server_of(options: argparse.Namespace) -> Server:
    """Return the server that options name; raises NoAnswer for options that contradict."""
    files = [one for word in options.tls_ca_cert_files for one in word.split(",") if one]
    if bool(options.tls_client_cert_file) != bool(options.tls_client_key_file):
        text = "--tls-client-cert-file and --tls-client-key-file belong together"
        raise NoAnswer(text, wrong_question=True)
    keys = Tls(
        tuple(files),
        options.tls_client_cert_file,
        options.tls_client_key_file,
        options.tls_server_name,
    )
    if not (options.tls or options.server.startswith("tls://")):
        if keys != Tls():
            raise NoAnswer("options --tls-… need --tls", wrong_question=True)
        return Server(options.server)
    return Server(options.server, keys)


@contextlib.contextmanager
def reach(options: argparse.Namespace) -> Iterator[Hubble]:
    """Yield the server; raises NoAnswer."""
    server = server_of(options)
    if server.address:
        with Hubble(server) as hubble:
            yield hubble
        return
    if answers(HERE, server.tls):
        with Hubble(Server(HERE, server.tls)) as hubble:
            yield hubble
        return
    # By its name: whoever names a server does not load what speaks with the cluster.
    tunnels: Any = importlib.import_module("cairn.cli.hubble_tunnel")
    try:
        with tunnels.Tunnel(options.kubeconfig) as tunnel:
            try:
                with Hubble(Server(tunnel.address, server.tls), BY_API) as hubble:
                    yield hubble
            except NoAnswer as error:
                raise NoAnswer(tunnel.failed) if tunnel.failed else error from None
    except tunnels.NoTunnel as error:
        raise NoAnswer(str(error)) from None


def answers(address: str, tls: Tls | None = None) -> bool:
    """Return whether Hubble answers at HOST:PORT."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), LOOK_S).close()
        with Hubble(Server(address, tls)) as hubble:
            hubble.status(ANSWER_S)
    except (OSError, NoAnswer):
        return False
    return True
