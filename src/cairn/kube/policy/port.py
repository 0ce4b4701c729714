"""Ports as policies write them: numbers, ranges and names.

    port, endPort, protocol  ->  PortMatch, or InvalidPolicy

Standards   RFC 6335 s5.1 (service names), Kubernetes NetworkPolicyPort, Cilium PortProtocol
Units       host order
"""

import re

from cairn.kube.policy.field import number, show
from cairn.kube.policy.rule import InvalidPolicy, PortMatch
from cairn.kube.policy.share import share
from cairn.net import Protocol

HIGHEST = 65535
LONGEST_NAME = 15
_NAME = re.compile(r"(?!-)(?!.*--)(?=.*[a-z])[a-z0-9-]{1,15}(?<!-)", re.ASCII)


def port_name(raw: object) -> str:
    """Return the name of a port, or "" if it is not one."""
    if isinstance(raw, str) and len(raw) <= LONGEST_NAME and _NAME.fullmatch(raw):
        return raw
    return ""


def port_range(
    port: object, end: object, protocol: Protocol | None, path: str, *, lowest: int = 1
) -> PortMatch:
    """Return the ports from `port` to `end`, or the one that `port` names.

    `path` is that of the object with the two fields.
    """
    if name := port_name(port):
        if end:
            raise InvalidPolicy(
                f"{path}.endPort", f"port {name} is a name and begins no range: write its number"
            )
        return share(PortMatch(protocol, name=name))
    if isinstance(port, bool) or not isinstance(port, int) or not lowest <= port <= HIGHEST:
        raise InvalidPolicy(
            f"{path}.port",
            f"{show(port)} is neither a port from {lowest} to {HIGHEST} nor the name of one (at "
            f"most {LONGEST_NAME} lower-case letters, digits and '-')",
        )
    if end is None:
        return share(PortMatch(protocol, port, port))
    last = number(end, f"{path}.endPort", 0, HIGHEST)
    if last < port:
        raise InvalidPolicy(f"{path}.endPort", f"{last} is less than port {port}")
    return share(PortMatch(protocol, port, last))
