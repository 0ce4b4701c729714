"""Write the FIB's changes into the kernel, and look whether they still stand.

    Fib  ->  netlink  ->  the routes of this namespace

Invariants  A route that the kernel refuses is logged once per reason, counted, and tried again at
            the next look. So is everything when the kernel does not answer at all.
            Of several next hops only those that the kernel refuses are left out; it names none, so
            each is tried by itself in a table that nothing looks routes up in.
"""

import logging
from collections.abc import Iterable
from dataclasses import replace

from cairn.desired.routes import PROTOCOL_BGP, KernelRoute
from cairn.net import Address, Network
from cairn.netlink.route import RouteFailure, delete_routes, list_routes, replace_routes
from cairn.netlink.socket import RouteSocket
from cairn.router.fib import Fib

LOG = logging.getLogger(__name__)

TRIAL_TABLE = 24_661
"""No rule leads there."""


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
        self._complaints: dict[tuple[Network, str], str] = {}
        self._silence = ""
        self.refused = 0

    def write(self) -> None:
        """Write what changed since the last call."""
        while changes := self._fib.changes():
            try:
                failures = delete_routes(self._socket, changes.delete)
                failures += replace_routes(self._socket, changes.replace)
                for failure in failures:
                    self._take_refusal(failure)
                refused = {failure.route for failure in failures}
                self._forget_complaints(r for r in changes.replace if r not in refused)
            except OSError as error:
                # How far it came is unknown: the next look finds what differs.
                self._complain_of_silence(error)
                return

    def _take_refusal(self, failure: RouteFailure) -> None:
        route = failure.route
        self.refused += 1
        self._fib.failed(route)
        wrong = self._wrong_hops(route)
        good = [hop for hop in route.nexthops if hop.address not in wrong]
        if wrong and good:
            self._fib.leave_out(route.prefix, wrong)
            for address, reason in wrong.items():
                self._complain(route.prefix, str(address), reason, "; the others are used")
        else:
            hops = ", ".join(str(hop.address) for hop in route.nexthops)
            self._complain(route.prefix, hops, failure.reason, "")

    def _wrong_hops(self, route: KernelRoute) -> dict[Address, str]:
        """Return which of several next hops the kernel refuses, and why."""
        if len(route.nexthops) < 2:
            return {}
        # Told apart by their metrics; the tables of both families are there for the asking.
        trials = [
            replace(route, nexthops=(replace(hop, weight=1),), metric=number, table=TRIAL_TABLE)
            for number, hop in enumerate(route.nexthops, start=1)
        ]
        wrong = {}
        for failure in replace_routes(self._socket, trials):
            address = failure.route.nexthops[0].address
            if address is not None:
                wrong[address] = failure.reason
        delete_routes(self._socket, trials)
        return wrong

    def _forget_complaints(self, written: Iterable[KernelRoute]) -> None:
        """Forget what was wrong with routes and next hops that the kernel has taken now."""
        if not self._complaints:
            return
        for route in written:
            hops = [str(hop.address) for hop in route.nexthops]
            for taken in (*hops, ", ".join(hops)):
                self._complaints.pop((route.prefix, taken), None)

    def _complain(self, prefix: Network, hops: str, reason: str, more: str) -> None:
        """Log a refusal, once for as long as it is the same."""
        if self._complaints.get((prefix, hops)) != reason:
            self._complaints[prefix, hops] = reason
            LOG.error("the kernel refuses the route to %s via %s: %s%s", prefix, hops, reason, more)

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
