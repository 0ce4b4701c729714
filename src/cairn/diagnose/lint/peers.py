"""What names and networks in rules mean less, or more, than they seem to.

Policy  ->  Found
"""

from collections.abc import Iterator

from cairn.diagnose.lint.found import Found, Weight, of
from cairn.kube.policy.rule import (
    Action,
    CidrPeer,
    Direction,
    FqdnPeer,
    Policy,
    PortMatch,
    Rule,
)

TLS_PORTS = (443, 6443, 8443)
WORLD_ONLY = "WorldOnly"
"""Finding of the reader that says the same of a Cilium policy."""


def find(policy: Policy) -> Iterator[Found]:
    """Yield what the peers of a policy's rules mean."""
    for rule in policy.rules:
        if not rule.implied:
            yield from _names(policy, rule)
            yield from _networks(policy, rule)
            yield from _requests(policy, rule)
            yield from _rate(policy, rule)


def _names(policy: Policy, rule: Rule) -> Iterator[Found]:
    names = [peer.name or peer.pattern for peer in rule.peers if isinstance(peer, FqdnPeer)]
    if not names:
        return
    shown = ", ".join(names[:3])
    if not rule.matches:
        yield of(
            policy.ref,
            "NamesWithoutPorts",
            Weight.WARNING,
            rule.path,
            f"every port and protocol of the addresses of {shown} is allowed, and such addresses "
            'are often shared with others: write toPorts, with port "443" if HTTPS is meant',
        )
    if rule.server_names:
        return
    if not rule.matches or any(map(_holds_tls, rule.matches)):
        yield of(
            policy.ref,
            "TlsIsOpaque",
            Weight.NOTE,
            rule.path,
            f"{shown} is allowed by address: on TLS connections neither host nor request is "
            "seen, so other hosts at the same addresses pass, too, and flows show them at L4; "
            "serverNames under toPorts checks the name in the TLS greeting",
        )


def _holds_tls(match: object) -> bool:
    return isinstance(match, PortMatch) and any(
        match.first <= port <= match.last for port in TLS_PORTS
    )


def _requests(policy: Policy, rule: Rule) -> Iterator[Found]:
    if rule.http is None:
        return
    ports = sorted(
        {
            match.first
            for match in rule.matches
            if isinstance(match, PortMatch) and match.first == match.last and _holds_tls(match)
        }
    )
    if ports:
        shown = ", ".join(map(str, ports))
        yield of(
            policy.ref,
            "TlsIsOpaque",
            Weight.WARNING,
            rule.path,
            f"rules.http at port {shown}, where TLS is spoken: what is encrypted is no HTTP to "
            "the proxy, and is refused; apply HTTP rules where the traffic is plain, or check "
            "serverNames",
        )


def _networks(policy: Policy, rule: Rule) -> Iterator[Found]:
    if rule.action is not Action.ALLOW or any(f.reason == WORLD_ONLY for f in policy.findings):
        return
    whole = [p for p in rule.peers if isinstance(p, CidrPeer) and p.network.prefixlen == 0]
    versions = {peer.network.version for peer in whole}
    cilium = policy.ref.kind.startswith("Cilium")
    way = "from" if rule.direction is Direction.INGRESS else "to"
    for peer in whole:
        if not peer.inside:
            yield of(
                policy.ref,
                "CidrExcludesPods",
                Weight.WARNING,
                rule.path,
                f"{peer.network} is the world outside the cluster: pods and nodes are not in it, "
                f"and are denied where nothing else allows them; write {way}Entities: [all] if "
                "anyone is meant",
            )
        other = 6 if peer.network.version == 4 else 4
        if other not in versions:
            more = f"{way}Entities: [world]" if cilium else "a second ipBlock"
            rest = "::/0" if other == 6 else "0.0.0.0/0"
            yield of(
                policy.ref,
                f"CidrExcludesIPv{other}",
                Weight.WARNING,
                rule.path,
                f"{peer.network} holds no IPv{other} address: clients that come by IPv{other} are "
                f"denied; write {rest} beside it ({more})",
            )


def _rate(policy: Policy, rule: Rule) -> Iterator[Found]:
    if rule.rate is None:
        return
    whom = "all sources together" if rule.rate.total else "each source address (IPv6: each /64)"
    yield of(
        policy.ref,
        "RateLimitInXdp",
        Weight.NOTE,
        rule.path,
        f"{rule.rate.per_second} new connections a second are taken from {whom}; only this limit "
        "is applied in XDP, where packets enter a node, and before any state is made: all else in "
        "the policy is decided at the pod's own interface; other systems do not know the field",
    )
