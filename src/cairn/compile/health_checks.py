"""Which backends a node checks, and how.

    Service, its LbState, probes of the node's pods  ->  Check by backend address

Every TCP backend of the node is checked that stands behind a Service which clients outside can
reach; behind one that only the cluster can reach, if its annotation asks for it. A check is the
request of the pod's own readiness probe where that asks the same port by HTTP, else a connect.

Invariants  UDP and SCTP backends are not checked: silence says nothing about them.
            `off` means that nothing but the kubelet ejects; the signs that connections give
            (agent.health) hasten a check, and never eject by themselves.
            Of several Services with one backend a check that is asked for goes before "off", that
            before the default; of two that ask, the first by name.
Not here    what an annotation says (health.annotation)
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from cairn.desired.load_balancer import Backend, LbState
from cairn.health.annotation import Wish, read_wish
from cairn.health.check import Check, HttpRequest
from cairn.kube.pod_probe import HttpGet, PodProbes
from cairn.kube.service import HEALTH_CHECK, Service
from cairn.net import Address, L4Address, Protocol

Probes = Mapping[tuple[Address, int], HttpGet]
"""Readiness requests of the node's pods, by address and port."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one Service wants to be done about one backend."""

    check: Check | None
    """How it is checked; None: not at all."""
    asked: bool
    """Whether its author said so."""

    @property
    def rank(self) -> int:
        """Whose word goes before whose, the lowest first."""
        return 2 if not self.asked else 0 if self.check else 1


def probes_of(pods: Iterable[PodProbes]) -> dict[tuple[Address, int], HttpGet]:
    """Return the readiness requests of pods."""
    return {
        (address, port): get
        for pod in pods
        for address in pod.addresses
        for port, get in pod.requests.items()
    }


def compile_checks(
    service: Service, state: LbState, node: str, probes: Probes
) -> tuple[dict[L4Address, Wanted], str]:
    """Return what a Service wants for each of the node's backends, and what cannot be read."""
    text = service.metadata.annotations.get(HEALTH_CHECK)
    wish, wrong = Wish(), ""
    if text is not None:
        try:
            wish = read_wish(text)
        except ValueError as error:
            wrong = f"annotation {HEALTH_CHECK}: {error}; the default check applies"
    asked = text is not None and not wrong
    if not asked and not any(frontend.external for frontend in state.values()):
        return {}, wrong
    wanted: dict[L4Address, Wanted] = {}
    for backend in local_backends(state, node):
        where = backend.address
        if where.protocol is Protocol.TCP:
            check = wish.check(_request(probes.get((where.address, where.port))))
            wanted[where] = Wanted(None if wish.off else check, asked)
    return wanted, wrong


def local_frontends(service: Service, state: LbState, node: str) -> LbState:
    """Return what is checked of a Service: its frontends with their backends on a node alone.

    Those that only the cluster can reach are left out, unless a check is asked for.
    """
    asked = HEALTH_CHECK in service.metadata.annotations
    return {
        where: replace(frontend, backends=here)
        for where, frontend in state.items()
        if asked or frontend.external
        if (here := tuple(b for b in frontend.backends if b.node == node and _is_in_use(b)))
    }


def _is_in_use(backend: Backend) -> bool:
    """Return whether a backend takes new connections, or would if it were well."""
    return backend.ejected or not backend.draining


def local_backends(state: LbState, node: str) -> frozenset[Backend]:
    """Return the backends of a node that take new connections, or would if they were well."""
    return frozenset(
        backend
        for frontend in state.values()
        for backend in frontend.backends
        if backend.node == node and _is_in_use(backend)
    )


def choose_check(wishes: Iterable[Wanted]) -> Check | None:
    """Return what is done about a backend that several Services have; they come by name."""
    return min(wishes, key=lambda wanted: wanted.rank, default=Wanted(None, asked=False)).check


def _request(get: HttpGet | None) -> HttpRequest | None:
    return HttpRequest(get.path, get.host, get.secure, get.headers) if get else None
