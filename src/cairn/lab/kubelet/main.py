"""`cairn lab kubelet`: the kubelet of one of the lab's nodes.

--lab NAME --node NODE --kubeconfig FILE  ->  Kubelet, its server on port 10250
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cairn.drive.kube_client import Client
from cairn.drive.kubeconfig import NoAccess
from cairn.lab.kubelet.container_plan import PATH
from cairn.lab.kubelet.credentials import open_pki, server_context
from cairn.lab.kubelet.kubelet import Kubelet
from cairn.lab.kubelet.node_status import PORT
from cairn.lab.kubelet.places import Places
from cairn.lab.kubelet.recorder import Recorder
from cairn.lab.kubelet.server import Server
from cairn.lab.kubelet.station import Station
from cairn.lab.kubelet.volumes import NameService
from cairn.lab.state import Lab, LabError, load_lab
from cairn.lab.topology import CLUSTER_DNS, node_addresses, pod_networks
from cairn.linux import cgroup

DOMAIN = "cluster.local"

log = logging.getLogger(__name__)


def main(argv: list[str]) -> int:
    """Run until told to stop; return the exit status."""
    options = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname).1s %(message)s", stream=sys.stderr
    )
    try:
        if os.geteuid() != 0:
            raise LabError("cairn lab kubelet: needs root, to make namespaces; run it as root")
        asyncio.run(_serve(options))
    except (LabError, NoAccess) as error:
        sys.stderr.write(f"cairn lab kubelet: {error}\n")
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"cairn lab kubelet: {where}{error.strerror or error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cairn lab kubelet", description=__doc__)
    parser.add_argument("--lab", required=True, help="name of the lab")
    parser.add_argument("--node", required=True, help="name of the node")
    parser.add_argument("--kubeconfig", help="how to reach the API server")
    parser.add_argument(
        "--address", action="append", help="the node's address (repeatable; default: as node-N)"
    )
    parser.add_argument(
        "--pod-network", action="append", help="its pod CIDR (repeatable; default: as node-N)"
    )
    return parser


async def _serve(options: argparse.Namespace) -> None:
    lab = load_lab(options.lab)
    number = _number_of(options.node, needed=not (options.address and options.pod_network))
    addresses = tuple(options.address or node_addresses(number, far=number in lab.far))
    client = Client.connect(options.kubeconfig)
    async with client:
        station = make_station(lab, options.node, addresses, client)
        kubelet = Kubelet(station, tuple(options.pod_network or pod_networks(number)))
        context = server_context(station.pki, options.node, addresses)
        server = Server(kubelet)
        await server.listen(addresses, PORT, context)
        where = ", ".join(addresses)
        log.info("kubelet of %s serves HTTPS at port %d of %s", options.node, PORT, where)
        work = asyncio.create_task(kubelet.run())
        for number_ in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number_, work.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await work
        log.info("kubelet of %s stops; its pods run on", options.node)
        server.close()


def make_station(lab: Lab, node: str, addresses: tuple[str, ...], client: Client) -> Station:
    """Return what all parts of a node's kubelet share, with its folders made."""
    places = Places(lab, node)
    cgroup.create(places.shims)
    for folder in (places.pods, places.cni_config, places.files / "run/cairn"):
        folder.mkdir(parents=True, exist_ok=True)
    url = urlsplit(client.url)
    resolver = lab.host_etc(node) / "resolv.conf"
    own = resolver if resolver.exists() else Path("/etc/resolv.conf")
    path = f"{lab.bin}:{PATH}:{Path(sys.executable).parent}"
    return Station(
        client=client,
        places=places,
        recorder=Recorder(client, node),
        pki=open_pki(lab.pki),
        names=NameService(CLUSTER_DNS, DOMAIN, own.read_text() if own.exists() else ""),
        addresses=addresses,
        api_address=(url.hostname or addresses[0], str(url.port or 443)),
        path=path,
    )


def _number_of(node: str, *, needed: bool) -> int:
    number = node.rpartition("-")[2]
    if number.isdigit():
        return int(number)
    if needed:
        raise LabError(f"node {node!r} is no node-N: pass --address and --pod-network")
    return 0
