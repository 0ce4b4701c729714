"""`cairn router`: command line, signals and log of the router.

argv  ->  RouterService, until SIGTERM or SIGINT  ->  exit status
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from cairn.desired.reader import ConfigError
from cairn.linux.sysctl import SettingFailed
from cairn.netlink.socket import RouteSocket
from cairn.router.bgpctl import DEFAULT_SOCKET
from cairn.router.config import load_router_config
from cairn.router.firewall import FirewallFailed, remove_rules
from cairn.router.kernel import remove_routes
from cairn.router.openbgpd_fib import copy_routes
from cairn.router.service import RouterService


def main(argv: list[str]) -> int:
    """Run the router; return 0 after a signal, 1 if it cannot start, 2 on wrong usage."""
    options = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    if os.geteuid() != 0:
        sys.stderr.write("cairn router: it writes routes and firewall rules: run it as root\n")
        return 1
    try:
        if options.flush:
            return _flush()
        if options.copy_openbgpd:
            asyncio.run(_until_signal(lambda stop: copy_routes(options.copy_openbgpd, stop)))
        else:
            asyncio.run(_until_signal(lambda stop: _serve(options, stop)))
    except (OSError, ConfigError, FirewallFailed, SettingFailed) as error:
        sys.stderr.write(f"cairn router: {_spell(error)}\n")
        return 1
    return 0


def _spell(error: Exception) -> str:
    """Return the error in a line; the system's own begin with the file they are about."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


async def _serve(options: argparse.Namespace, stop: asyncio.Event) -> None:
    try:
        config = load_router_config(options.config.read_text())
    except ConfigError as error:
        raise ConfigError(f"{options.config}: {error}") from error
    await RouterService(config, options.socket, metrics_port=options.metrics).run(stop)


def _flush() -> int:
    with RouteSocket() as socket:
        count = remove_routes(socket)
    remove_rules()
    sys.stdout.write(f"removed {count} routes and the guard of the BGP port\n")
    return 0


async def _until_signal(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await run(stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cairn router", description="A Linux home router.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", type=Path, help="YAML file: who may peer")
    what.add_argument(
        "--copy-openbgpd",
        metavar="SOCKET",
        help="only write the routes that the OpenBGPD behind SOCKET chose",
    )
    what.add_argument("--flush", action="store_true", help="remove all routes and rules of ours")
    parser.add_argument(
        "--socket",
        type=Path,
        default=Path(os.environ.get("CAIRN_ROUTER_SOCKET", DEFAULT_SOCKET)),
        help="where bgpctl asks (default: %(default)s)",
    )
    parser.add_argument("--metrics", type=int, default=0, metavar="PORT",
                        help="of GET /metrics (usual: 9969; default: none)")  # fmt: skip
    return parser
