"""The backends that nobody should use: by this node's own checks, and by the other nodes' word.

    own set, NodeFacts of the others  ->  ejected addresses by node; what changed

Invariants  A node is believed about its own backends only (compile.ejection).
            Of this node its own checks count, not what its CiliumNode says, which follows them; but
            until they have judged, what an earlier agent wrote there stands.
"""

from collections.abc import Iterable

from cairn.kube.node import NodeFacts
from cairn.net import L4Address

_NONE: frozenset[L4Address] = frozenset()


class Ejections:
    """Ejected backends by node."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._judged = False
        self.by_node: dict[str, frozenset[L4Address]] = {}
        """By the name of the backend's node; nodes without any are not listed."""

    def set_own(self, own: frozenset[L4Address]) -> frozenset[L4Address]:
        """Take what this node's checks say; return the backends that it changes something for."""
        self._judged = True
        return self._set(self._node, own)

    def set_nodes(self, facts: Iterable[NodeFacts]) -> frozenset[L4Address]:
        """Take what the nodes say; return the backends that it changes something for."""
        said = {node.name: node.ejected for node in facts}
        if self._judged:
            said[self._node] = self.by_node.get(self._node, _NONE)
        changed = _NONE
        for name in {*said, *self.by_node}:
            changed |= self._set(name, said.get(name, _NONE))
        return changed

    def _set(self, node: str, ejected: frozenset[L4Address]) -> frozenset[L4Address]:
        before = self.by_node.pop(node, _NONE)
        if ejected:
            self.by_node[node] = ejected
        return before ^ ejected
