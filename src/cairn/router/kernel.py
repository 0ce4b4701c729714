"""Write the FIB's changes into the kernel, and look whether they still stand.

    Fib  ->  netlink  ->  the routes of this namespace

Invariants  A route that the kernel refuses is logged once per reason, counted, and tried again at
            the next look. So is everything when the kernel does not answer at all.
"""

import logging

from cairn.desired.routes import PROTOCOL_BGP, KernelRoute
from cairn.netlink.route import delete_routes, list_routes, replace_routes
from cairn.netlink.socket import RouteSocket
from cairn.router.fib import Fib

LOG = logging.getLogger(__name__)


def routes_of_ours(socket: RouteSocket) -> list[KernelRoute]:
    """Return the routes of our protocol, both families."""
    return [
        route for version in (4, 6) for route in list_routes(socket, version, protocol=PROTOCOL_BGP)
    ]


def remove_routes(socket: RouteSocket) -> int:
    """Remove all routes of our protocol; return how many there were."""
    found = routes_of_ours(socket)
    delete_routes(socket, found)
    return len(found)


class KernelWriter:
    """Keeps the kernel's routes as the FIB says."""

    def __init__(self, socket: RouteSocket, fib: Fib) -> None:
        self._socket = socket
        self._fib = fib
        self._complaints: dict[KernelRoute, str] = {}
        self._silence = ""
        self.refused = 0

    def write(self) -> None:
        """Write what changed since the last call."""
        changes = self._fib.changes()
        if not changes:
            return
        try:
            failures = delete_routes(self._socket, changes.delete)
            failures += replace_routes(self._socket, changes.replace)
        except OSError as error:
            # How far it came is unknown: the next look finds what differs.
            self._complain_of_silence(error)
            return
        for failure in failures:
            self.refused += 1
            self._fib.failed(failure.route)
            if self._complaints.get(failure.route) != failure.reason:
                self._complaints[failure.route] = failure.reason
                hops = ", ".join(str(hop.address) for hop in failure.route.nexthops)
                LOG.error(
                    "the kernel refuses the route to %s via %s: %s",
                    *(failure.route.prefix, hops, failure.reason),
                )
        refused = {failure.route for failure in failures}
        for route in changes.replace:
            if route not in refused:
                self._complaints.pop(route, None)

    def look(self) -> None:
        """Compare with the kernel and write what somebody else changed."""
        try:
            found = routes_of_ours(self._socket)
        except OSError as error:
            self._complain_of_silence(error)
            return
        self._silence = ""
        self._fib.observe(found)
        self.write()

    def _complain_of_silence(self, error: OSError) -> None:
        if str(error) != self._silence:
            LOG.error("the kernel's routes cannot be read or written: %s; trying again", error)
        self._silence = str(error)
