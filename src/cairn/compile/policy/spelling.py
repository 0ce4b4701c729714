"""The one text of a thing, from which its number is made.

    selector, peer  ->  text that equal ones share, and no others

Invariants  The text does not depend on the order of sets, nor on the process.
"""

from cairn.kube.policy.rule import CidrPeer, FqdnPeer
from cairn.kube.selector import Selector


def spell_selector(selector: Selector) -> str:
    """Return the text of a selector."""
    return repr([(r.key, r.operator.value, sorted(r.values)) for r in selector.requirements])


def spell_peer(peer: CidrPeer) -> str:
    """Return the text of a peer by network."""
    return f"{peer.network} {peer.inside} {[str(part) for part in peer.excepts]}"


def spell_name(peer: FqdnPeer) -> str:
    """Return the text of a peer by name."""
    return f"name {peer.name!r} {peer.pattern!r}"
