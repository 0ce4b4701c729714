"""Who is at the ends of a flow, in the words of upstream's CLI and in the document's.

flow.Flow  ->  "production/web-app-1:40000", "8.8.8.8:53", "(ID:1234)"

Standards   Cilium hubble/pkg/printer
"""

from typing import Any, NamedTuple

from cairn.hubble.client_values import IDENTITIES

UNKNOWN = frozenset({"", "::", "0.0.0.0"})  # noqa: S104
"""Addresses that say nothing: of a socket before it has one."""


class Ends(NamedTuple):
    """Source and destination."""

    source: str
    destination: str


def ports(flow: Any) -> tuple[int, int]:
    """Return source and destination port; 0: none."""
    name = flow.l4.WhichOneof("protocol")
    if name not in ("TCP", "UDP", "SCTP"):
        return 0, 0
    part = getattr(flow.l4, name)
    return part.source_port, part.destination_port


def joined(host: str, port: int) -> str:
    """Return host and port as text; without port 0."""
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def full(flow: Any, *, names: bool) -> Ends:
    """Return both ends with their ports; `names`: by name where they have one."""
    from_port, to_port = ports(flow)
    return Ends(
        joined(_host(flow, "source", names=names), from_port),
        joined(_host(flow, "destination", names=names), to_port),
    )


def short(flow: Any, *, names: bool) -> Ends:
    """Return both ends, pods by their names alone: their ports say little."""
    from_port, to_port = ports(flow)
    return Ends(
        _short(flow, "source", from_port, names=names),
        _short(flow, "destination", to_port, names=names),
    )


def _short(flow: Any, side: str, port: int, *, names: bool) -> str:
    is_pod = names and getattr(flow, side).pod_name
    return joined(_host(flow, side, names=names), 0 if is_pod else port)


def _host(flow: Any, side: str, *, names: bool) -> str:
    if names:
        end = getattr(flow, side)
        if end.pod_name:
            return _path(end.namespace, end.pod_name)
        service = getattr(flow, f"{side}_service")
        if service.name:
            return _path(service.namespace, service.name)
        known = getattr(flow, f"{side}_names")
        if known:
            return ",".join(name.rstrip(".") for name in known)
    address = str(getattr(flow.IP, side)) or str(getattr(flow.ethernet, side))
    return "unknown" if address in UNKNOWN else address


def _path(namespace: str, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


def identities(flow: Any) -> Ends:
    """Return both identities: `(ID:1234)`, `(world)`; empty where none is known."""
    return Ends(_identity(flow.source), _identity(flow.destination))


def _identity(end: Any) -> str:
    number = end.identity
    if not number:
        return ""
    return f"({IDENTITIES[number]})" if number < len(IDENTITIES) else f"(ID:{number})"
