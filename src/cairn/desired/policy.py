"""What policies come to, for one identity: who may open which connections.

    compile.policy  ->  SubjectPolicy  ->  apply.policy (maps), diagnose (words), tests (the oracle)

Shapes      A Table answers (protocol, port) by one Verdict; its ranges are disjoint and sorted: the
            one that holds the port decides, else `rest`.
Invariants  Values are compared whole: equal tables are one table in the data plane.
Units       ports in host order; for ICMP the type times 256, plus the code; 0 without ports
"""

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field

from cairn.abi.structs import PolicyAction
from cairn.kube.policy.rule import Direction, DnsRule, HttpRule, RuleRef

HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Redirect:
    """Rules that a proxy applies; equal ones share a listener."""

    http: tuple[HttpRule, ...] | None = None
    """Requests that are allowed, any of them; None: not read as HTTP."""
    dns: tuple[DnsRule, ...] | None = None
    """Names that may be asked for, any of them; None: not read as DNS."""
    server_names: tuple[str, ...] = ()
    """TLS server names that are allowed; empty: any."""
    direction: Direction = Direction.EGRESS
    """Whether it is for who opens connections, or for who is reached."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a connection, and by which rule."""

    action: PolicyAction
    """ALLOW, DENY, DEFAULT_DENY or PROXY."""
    rule: RuleRef | None
    """Which rule decided; None: nobody isolates the subject."""
    redirect: Redirect | None = None
    """With PROXY: what the proxy applies."""
    audit: tuple[PolicyAction, RuleRef] | None = None
    """What would have been decided with the policies in audit mode; None: the same."""

    @property
    def allows(self) -> bool:
        """Whether the connection may begin."""
        return self.action in (PolicyAction.ALLOW, PolicyAction.PROXY)


@dataclass(frozen=True, slots=True)
class PortRange:
    """Neighbouring ports of one protocol with one verdict."""

    protocol: int
    """IANA protocol number."""
    first: int
    """First port."""
    last: int
    """Last port."""
    verdict: Verdict
    """What becomes of connections there."""


@dataclass(frozen=True, slots=True)
class Table:
    """Verdicts towards one other identity."""

    rest: Verdict
    """For what no range holds."""
    ranges: tuple[PortRange, ...] = ()
    """Sorted by protocol and port, disjoint."""

    def at(self, protocol: int, port: int) -> Verdict:
        """Return the verdict for a protocol and port."""
        place = bisect_right(self.ranges, (protocol, port), key=lambda r: (r.protocol, r.first))
        found = self.ranges[place - 1] if place else None
        if found and found.protocol == protocol and port <= found.last:
            return found.verdict
        return self.rest


@dataclass(frozen=True, slots=True)
class DirectionPolicy:
    """Verdicts of one direction."""

    rest: Table
    """Towards identities that have none of their own."""
    peers: Mapping[int, Table] = field(default_factory=dict)
    """By the other end's identity; selectors of names have identities too."""

    def at(self, remote: int, protocol: int, port: int, names: tuple[int, ...] = ()) -> Verdict:
        """Return the verdict as the data plane finds it (bpf/include/cairn/policy.h).

        `names`: on egress, identities of the name selectors that the destination was learnt for.
        """
        found = self.peers.get(remote, self.rest).at(protocol, port)
        for name in names:
            if found.action is not PolicyAction.DEFAULT_DENY:
                break
            other = self.peers[name].at(protocol, port) if name in self.peers else found
            if other.action is not PolicyAction.DEFAULT_DENY:
                found = other
        return found


@dataclass(frozen=True, slots=True)
class SubjectPolicy:
    """All that policies say about one identity."""

    identity: int
    """Whose policy it is."""
    ingress: DirectionPolicy | None = None
    """Who may reach it; None: not isolated, everyone."""
    egress: DirectionPolicy | None = None
    """Whom it may reach; None: likewise."""
