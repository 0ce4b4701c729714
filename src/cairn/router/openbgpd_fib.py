"""Write the routes that OpenBGPD chose: on Linux it cannot do so itself.

    `bgpctl -j show rib`, a few times a second  ->  Fib  ->  kernel

OpenBGPD has no way to tell us of a change, so it is asked: a withdrawal reaches the kernel up to
one interval late, which its users should know. Its multipath marks count as selected.

Invariants  While OpenBGPD does not answer, the routes stay as they are.
"""

import asyncio
import logging
from dataclasses import dataclass

import msgspec

from cairn.net import Address, Network, parse_address, parse_network
from cairn.netlink.socket import RouteSocket
from cairn.router.fib import Fib
from cairn.router.kernel import KernelWriter, routes_of_ours

LOG = logging.getLogger(__name__)

BGPCTL = "/usr/sbin/bgpctl"
INTERVAL_S = 0.25
LOOKS_APART = 20


class Silent(RuntimeError):
    """OpenBGPD did not answer; the text says why."""


@dataclass(frozen=True, slots=True)
class RibPath:
    """One path in `bgpctl -j show rib`."""

    prefix: str
    """Destination."""
    exit_nexthop: str
    """Next hop as it was announced."""
    valid: bool = False
    """It takes part in the decision."""
    best: bool = False
    """It was chosen."""
    ecmp: bool = False
    """It is used together with the best."""


@dataclass(frozen=True, slots=True)
class Rib:
    """All of `bgpctl -j show rib`."""

    rib: tuple[RibPath, ...] = ()
    """Every path."""


def chosen_paths(answer: bytes) -> dict[Network, frozenset[Address]]:
    """Return the next hops of every prefix in `bgpctl -j show rib`; raises Silent."""
    try:
        rib = msgspec.json.decode(answer, type=Rib) if answer.strip() else Rib()
        found: dict[Network, set[Address]] = {}
        for path in rib.rib:
            if path.valid and (path.best or path.ecmp):
                hops = found.setdefault(parse_network(path.prefix), set())
                hops.add(parse_address(path.exit_nexthop))
    except ValueError as error:  # msgspec's errors are ones
        raise Silent(f"bgpctl printed what we cannot read: {error}") from error
    return {prefix: frozenset(hops) for prefix, hops in found.items()}


async def copy_routes(control: str, stop: asyncio.Event) -> None:
    """Copy until `stop`."""
    with RouteSocket() as socket:
        fib = Fib(routes_of_ours(socket), metric=20)
        kernel = KernelWriter(socket, fib)
        before: dict[Network, frozenset[Address]] = {}
        answered = True
        turns = 0
        while not stop.is_set():
            try:
                paths = chosen_paths(await _ask(control))
            except Silent as error:
                if answered:
                    LOG.warning("BGP routes stay as they are: %s", error)
                answered = False
            else:
                answered = True
                for prefix in paths.keys() | before.keys():
                    fib.set_paths(prefix, paths.get(prefix, frozenset()))
                before = paths
                fib.settle_all()
                kernel.write()
            turns += 1
            if turns % LOOKS_APART == 0:
                kernel.look()
            await _pause(stop)


async def _ask(control: str) -> bytes:
    try:
        process = await asyncio.create_subprocess_exec(
            *(BGPCTL, "-s", control, "-j", "show", "rib"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    except OSError as error:
        raise Silent(f"{BGPCTL}: {error.strerror}") from error
    answer, errors = await process.communicate()
    if process.returncode:
        raise Silent(errors.decode(errors="replace").strip() or "bgpctl failed")
    return answer


async def _pause(stop: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(INTERVAL_S):
            await stop.wait()
    except TimeoutError:
        return
