"""What stays possible at a node whatever a host policy says, so that nobody locks himself out.

    what the node talks to, who is logged in  ->  a policy that is asked before all others

Pure. The guard allows and never denies or isolates: it is asked first, so a deny rule does not lock
out either, and nodes without a host policy are as open as before. `cairn.io/host-guard: "off"` on a
host policy says that the node is to have none (Policy.guarded).

Invariants  Every rule is implied, and its path says what it is for.
            What the node needs of nobody (no peers, nobody logged in) makes no rule.
Standards   RFC 4271 (BGP, TCP 179), RFC 5881 s4 (BFD, UDP 3784), RFC 7348 (VXLAN), RFC 4890 s4.4
            (what ICMPv6 must pass), RFC 1191 (ICMP "fragmentation needed")
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_network

from cairn.kube.policy.rule import (
    Action,
    CidrPeer,
    Direction,
    EntityPeer,
    IcmpMatch,
    Match,
    Peer,
    Policy,
    PolicyRef,
    PortMatch,
    Rule,
    Tier,
)
from cairn.kube.selector import Selector
from cairn.net import Address, L4Address, Network, Protocol

GUARD = PolicyRef("HostGuard", "", "cairn")
"""What events and counters call it."""
FIRST = -1
"""Before every priority that can be written."""
BGP_PORT, BFD_PORT, KUBELET_PORT, SSH_PORT = 179, 3784, 10250, 22
OVERLAY_PORT = 8472
DHCP_PORTS = ((4, 67), (6, 547))
"""Where servers of leases listen, by IP version."""
ICMP_TYPES = {4: (3, 11, 12), 6: (1, 2, 3, 4, 133, 134, 135, 136, 137)}
"""What says that a path or a neighbour is not as thought, by IP version."""


@dataclass(frozen=True, slots=True)
class HostNeeds:
    """Whom a node must be able to talk to."""

    api_servers: tuple[L4Address, ...] = ()
    """Where the API server listens."""
    segments: tuple[Network, ...] = ()
    """The node's own subnets: the API server may come from another address than it listens at."""
    bgp_peers: tuple[tuple[Address, int], ...] = ()
    """Routers, with the TCP port that they listen on."""
    nodes: tuple[Address, ...] = ()
    """The other nodes."""
    sessions: tuple[Address, ...] = ()
    """Who is logged in over SSH at the moment."""


def guard_policy(needs: HostNeeds) -> Policy:
    """Return the policy that keeps a node reachable, for the engine of that node."""
    return Policy(
        ref=GUARD,
        uid="",
        subject=None,
        nodes=Selector(),
        tier=Tier.ADMIN,
        priority=FIRST,
        rules=(
            *_ways_in(needs),
            *_ways_out(needs),
            *(_icmp(direction) for direction in Direction),
        ),
    )


def wants_guard(policies: Iterable[Policy]) -> bool:
    """Return whether a node with these host policies is guarded: unless one says otherwise."""
    in_force = [p for p in policies if p.nodes is not None and not p.disabled]
    return bool(in_force) and all(policy.guarded for policy in in_force)


def _ways_in(needs: HostNeeds) -> Iterable[Rule]:
    servers = [server.address for server in needs.api_servers]
    kubelet = (*_peers(servers), *(CidrPeer(network, inside=True) for network in needs.segments))
    routers = [address for address, _ in needs.bgp_peers]
    beside = [*routers, *needs.nodes]
    ways: tuple[tuple[str, tuple[Peer, ...], Match], ...] = (
        ("administrator's session", _peers(needs.sessions), _tcp(SSH_PORT)),
        ("API server to kubelet", kubelet, _tcp(KUBELET_PORT)),
        ("BGP", _peers(routers), _tcp(BGP_PORT)),
        ("BFD", _peers(beside), _udp(BFD_PORT)),
        ("overlay", _peers(needs.nodes), _udp(OVERLAY_PORT)),
    )
    for name, peers, match in ways:
        if peers:
            yield _rule(name, Direction.INGRESS, peers, (match,))


def _ways_out(needs: HostNeeds) -> Iterable[Rule]:
    for server in needs.api_servers:
        yield _rule(
            f"API server {server.address}",
            Direction.EGRESS,
            _peers([server.address]),
            (_tcp(server.port),),
        )
    for address, port in needs.bgp_peers:
        yield _rule(f"BGP {address}", Direction.EGRESS, _peers([address]), (_tcp(port),))
    beside = [*(address for address, _ in needs.bgp_peers), *needs.nodes]
    if peers := _peers(beside):
        yield _rule("BFD", Direction.EGRESS, peers, (_udp(BFD_PORT),))
    if peers := _peers(needs.nodes):
        yield _rule("overlay", Direction.EGRESS, peers, (_udp(OVERLAY_PORT),))
    matches = tuple(_udp(port) for _, port in DHCP_PORTS)
    yield _rule("DHCP", Direction.EGRESS, (EntityPeer("all"),), matches)


def _icmp(direction: Direction) -> Rule:
    matches = tuple(IcmpMatch(family, kind) for family in ICMP_TYPES for kind in ICMP_TYPES[family])
    return _rule("ICMP errors and neighbours", direction, (EntityPeer("all"),), matches)


def _rule(
    name: str, direction: Direction, peers: tuple[Peer, ...], matches: tuple[Match, ...]
) -> Rule:
    return Rule(
        path=name,
        direction=direction,
        action=Action.ALLOW,
        peers=peers,
        matches=matches,
        implied=True,
    )


def _peers(addresses: Iterable[Address]) -> tuple[Peer, ...]:
    return tuple(
        CidrPeer(ip_network(address), inside=True)
        for address in sorted(set(addresses), key=lambda a: (a.version, int(a)))
    )


def _tcp(port: int) -> PortMatch:
    return PortMatch(Protocol.TCP, port, port)


def _udp(port: int) -> PortMatch:
    return PortMatch(Protocol.UDP, port, port)
