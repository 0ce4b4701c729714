"""How the agent is started.

arguments, environment  ->  Options; exit status 2 with one line on wrong usage
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cairn.agent.flows import CAPACITY, LARGEST
from cairn.agent.metrics import PORT
from cairn.apply.data_plane import FIXED_MAPS
from cairn.compile.xdp_form import Wish
from cairn.hubble.tls import ServerFiles

MAP_ENTRIES = (16, 1 << 24)
"""The fewest and the most entries that a map may be told to hold."""
RING = "events"
RING_BYTES = (1 << 16, 1 << 28)
"""The smallest and the largest ring of events."""
FLOWS_TLS = {
    "--flows-tls-cert": "certificate of the port that flows are asked at: TLS",
    "--flows-tls-key": "its key",
    "--flows-tls-client-ca": "authorities of those who may ask there: mTLS",
}
SWITCH = {"on": True, "off": False}


@dataclass(frozen=True, slots=True)
class Options:
    """How the agent was started."""

    node: str
    kubeconfig: str | None
    run: Path
    bpf: Path
    cgroup: Path
    cni: Path
    metrics_port: int = 0
    map_sizes: Mapping[str, int] = field(default_factory=dict)
    xdp: Wish = Wish.AUTO
    flows: int = CAPACITY
    events: bool = True
    flows_tls: ServerFiles | None = None


def parse(argv: list[str]) -> Options:
    """Return the options; leaves with status 2 on wrong usage."""
    parser = argparse.ArgumentParser(prog="cairn agent", description="Run one node's network.")
    parser.add_argument("--node", default=os.environ.get("NODE_NAME"), help="default: $NODE_NAME")
    parser.add_argument("--kubeconfig", help="default: $KUBECONFIG, else the pod's account")
    parser.add_argument("--run", type=Path, default=Path("/run/cairn"), help="sockets, records")
    parser.add_argument("--bpf", type=Path, default=Path("/sys/fs/bpf/cairn"), help="pins")
    parser.add_argument("--cgroup", type=Path, default=cgroup_default(), help="the node's cgroup")
    parser.add_argument("--cni", type=Path, default=Path("/etc/cni/net.d"), help="CNI conf folder")
    parser.add_argument("--metrics", type=int, default=PORT, metavar="PORT",
                        help="of GET /metrics at the node's addresses; 0: none")  # fmt: skip
    parser.add_argument("--map-size", type=map_size, action="append", metavar="MAP=ENTRIES",
                        help="how much a map holds, e.g. conntrack=500000; default: what "
                        "$CAIRN_MAP_SIZES names, separated by commas")  # fmt: skip
    parser.add_argument("--xdp", choices=[wish.value for wish in Wish], default=Wish.AUTO.value,
                        help="what to do before the kernel makes packets of frames; default: what "
                        "fits the uplink's device")  # fmt: skip
    parser.add_argument("--flows", type=flow_capacity, metavar="N",
                        default=os.environ.get("CAIRN_FLOWS") or str(CAPACITY),
                        help="to remember; default: $CAIRN_FLOWS, else 65536")  # fmt: skip
    parser.add_argument("--events", choices=list(SWITCH),
                        default=os.environ.get("CAIRN_EVENTS") or "on",
                        help="whether every pod's connections become flows, or only what is "
                        "dropped or audited; default: $CAIRN_EVENTS, else on")  # fmt: skip
    for option, help_text in FLOWS_TLS.items():
        parser.add_argument(option, default="", metavar="FILE", help=help_text)
    found = parser.parse_args(argv)
    tls = _flows_tls(parser, found)
    if found.events not in SWITCH:
        parser.error(f"CAIRN_EVENTS: {found.events!r} is neither on nor off")
    if not found.node:
        parser.error("which node is this? set NODE_NAME or pass --node")
    return Options(
        found.node,
        found.kubeconfig,
        found.run,
        found.bpf,
        found.cgroup,
        found.cni,
        found.metrics,
        _map_sizes(parser, found.map_size),
        Wish(found.xdp),
        found.flows,
        SWITCH[found.events],
        tls,
    )


def _map_sizes(
    parser: argparse.ArgumentParser, asked: list[tuple[str, int]] | None
) -> dict[str, int]:
    """Return how much maps hold; leaves with status 2 on what the environment says wrong."""
    if asked is not None:
        return dict(asked)
    words = os.environ.get("CAIRN_MAP_SIZES", "").split(",")
    try:
        return dict(map_size(word) for word in words if word)
    except argparse.ArgumentTypeError as error:
        parser.error(f"CAIRN_MAP_SIZES: {error}")


def _flows_tls(parser: argparse.ArgumentParser, found: argparse.Namespace) -> ServerFiles | None:
    """Return the files for TLS; leaves with status 2 if they do not go together."""
    if bool(found.flows_tls_cert) != bool(found.flows_tls_key):
        parser.error("--flows-tls-cert and --flows-tls-key belong together")
    if found.flows_tls_client_ca and not found.flows_tls_cert:
        parser.error("--flows-tls-client-ca needs --flows-tls-cert and --flows-tls-key")
    if not found.flows_tls_cert:
        return None
    return ServerFiles(found.flows_tls_cert, found.flows_tls_key, found.flows_tls_client_ca)


def map_size(text: str) -> tuple[str, int]:
    """Return a map's name and how many entries it is to hold."""
    name, _, number = text.partition("=")
    if not name or name in FIXED_MAPS:
        raise argparse.ArgumentTypeError(f"{name!r} is no map whose size can be chosen")
    if name == RING:
        octets = int(number) if number.isdecimal() else 0
        if not RING_BYTES[0] <= octets <= RING_BYTES[1] or octets & (octets - 1):
            raise argparse.ArgumentTypeError(
                f"{text!r}: the ring of events takes a power of two from {RING_BYTES[0]:,} to "
                f"{RING_BYTES[1]:,} octets"
            )
        return name, octets
    if not number.isdecimal() or not MAP_ENTRIES[0] <= int(number) <= MAP_ENTRIES[1]:
        raise argparse.ArgumentTypeError(
            f"{text!r}: a map holds {MAP_ENTRIES[0]} to {MAP_ENTRIES[1]:,} entries"
        )
    return name, int(number)


def flow_capacity(text: str) -> int:
    """Return how many flows are to be remembered."""
    if not text.isdecimal() or not 1 <= int(text) <= LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r}: 1 to {LARGEST:,} flows can be remembered")
    return int(text)


def cgroup_default() -> Path:
    """Return where cgroup v2 usually is: alone, or beside version 1."""
    unified = Path("/sys/fs/cgroup/unified")
    return unified if unified.is_dir() else Path("/sys/fs/cgroup")
