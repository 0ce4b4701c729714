"""`cairn speaker`: command line, signals and log of the speaker.

argv  ->  SpeakerService, until SIGTERM or SIGINT  ->  exit status
"""

import argparse
import asyncio
import logging
import signal
import sys
from ipaddress import IPv4Address
from pathlib import Path

from cairn.desired.reader import ConfigError
from cairn.net import parse_address
from cairn.speaker.service import SpeakerService

DEFAULT_SOCKET = Path("/run/cairn/speaker.sock")
DEFAULT_STATE = Path("/run/cairn/speaker.json")


def main(argv: list[str]) -> int:
    """Run the speaker; return 0 after a signal, 1 if it cannot start."""
    options = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    service = SpeakerService(
        socket=options.socket,
        state=options.state,
        listen=options.listen,
        port=options.port,
        router_id=str(options.router_id or ""),
        metrics_port=options.metrics,
    )
    try:
        asyncio.run(_run(service))
    except (OSError, ConfigError) as error:
        sys.stderr.write(f"cairn speaker: {error}\n")
        return 1
    return 0


async def _run(service: SpeakerService) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await service.run(stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cairn speaker", description="One node's BGP sessions.")
    parser.add_argument("--socket", type=Path, default=DEFAULT_SOCKET, help="where to take states")
    parser.add_argument("--state", type=Path, default=DEFAULT_STATE, help="where to keep the last")
    parser.add_argument(
        "--listen",
        type=parse_address,
        action="append",
        default=[],
        metavar="ADDRESS",
        help="also accept sessions here (default: only connect)",
    )
    parser.add_argument("--port", type=int, default=179, help="port for --listen")
    parser.add_argument("--router-id", type=IPv4Address, help="instead of the state's router_id")
    parser.add_argument("--metrics", type=int, default=0, metavar="PORT",
                        help="of GET /metrics (usual: 9967; default: none)")  # fmt: skip
    return parser
