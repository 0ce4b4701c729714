"""The neighbour table of a network namespace, of those whom a walk asks about, as it is now.

    addresses  ->  Neighbour by address

An entry that failed stays so until somebody sends again. So whom the table calls lost is asked
anew: an empty datagram to the discard port makes the kernel do it.

Cost        nothing where all are known; else until all have answered, half a second at most
"""

import contextlib
import socket
import time
from collections.abc import Iterable, Sequence

from cairn.desired.routes import KernelRoute
from cairn.diagnose.why.parts import Neighbour
from cairn.net import Address, parse_address
from cairn.netlink.neighbour import NeighbourState, list_neighbours
from cairn.netlink.route import list_routes
from cairn.netlink.socket import RouteSocket

WAIT_S = 0.5
POLL_S = 0.02
DISCARD = 9


def neighbours_here(wanted: Sequence[str], ask: Sequence[str] = ()) -> dict[str, Neighbour]:
    """Return the neighbours that are wanted, by address; `ask`: also those that are not known."""
    addresses = {parse_address(text) for text in wanted}
    found = _read(addresses)
    unsure = {a for a, n in found.items() if n.lost} | {a for a in ask if a not in found}
    for address in unsure:
        _send(address)
    end = time.monotonic() + WAIT_S
    while unsure and time.monotonic() < end:
        time.sleep(POLL_S)
        found = _read(addresses)
        unsure = {a for a in unsure if a not in found or found[a].lost}
    return found


def _read(addresses: set[Address]) -> dict[str, Neighbour]:
    with RouteSocket() as netlink:
        return {
            str(entry.address): Neighbour(
                entry.mac.hex(":") if entry.mac else "", _word(entry.state)
            )
            for entry in list_neighbours(netlink)
            if entry.address in addresses
        }


def longest(routes: Iterable[KernelRoute], target: Address) -> KernelRoute | None:
    """Return the route that the kernel takes to an address."""
    holding = [route for route in routes if target in route.prefix]
    return max(holding, key=lambda r: (r.prefix.prefixlen, -r.metric), default=None)


def gateway_of(route: KernelRoute | None) -> str:
    """Return the first next hop of a route; empty if it has none or leads to a link."""
    hops = route.nexthops if route else ()
    return next((str(hop.address) for hop in hops if hop.address), "")


def way_to(target: Address) -> str:
    """Return the next hop to an address by this namespace's routes; empty: on the link, or none."""
    with RouteSocket() as netlink:
        return gateway_of(longest(list_routes(netlink, target.version), target))


def _word(state: NeighbourState) -> str:
    return (state.name or "none").lower().partition("|")[0]


def _send(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((address, DISCARD))
        sock.send(b"")
