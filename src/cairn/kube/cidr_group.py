"""CiliumCIDRGroup: a named list of networks, which may be the nodes' deny list.

    object  ->  CidrGroup(denies, networks, unreadable)

Invariants  A network that cannot be read is named in `unreadable`; the others go on working.
Standards   CiliumCIDRGroup v2
Not here    Who says what is wrong with one (kube.unsupported), what nodes refuse to deny
            (compile.deny_list).
"""

from dataclasses import dataclass

from cairn.kube.metadata import Metadata, Object, metadata_of
from cairn.net import Network, parse_network

DENY = "cairn.io/deny"
"""Annotation: `true` puts the group's networks on the deny list of every node."""


@dataclass(frozen=True, slots=True)
class CidrGroup:
    """One group of networks."""

    metadata: Metadata
    """Names, labels, annotations."""
    denies: bool
    """Whether nodes drop what comes from these networks."""
    networks: tuple[Network, ...]
    """As listed, without those that cannot be read."""
    unreadable: tuple[str, ...]
    """Each that cannot be read, with the reason."""

    @staticmethod
    def from_object(obj: Object) -> "CidrGroup":
        """Return the view of a CiliumCIDRGroup."""
        metadata = metadata_of(obj)
        networks: list[Network] = []
        unreadable: list[str] = []
        for text in (obj.get("spec") or {}).get("externalCIDRs") or ():
            try:
                networks.append(parse_network(str(text).strip(), strict=False))
            except ValueError as error:
                unreadable.append(f"{text!r}: {error}")
        return CidrGroup(
            metadata=metadata,
            denies=metadata.annotations.get(DENY) == "true",
            networks=tuple(networks),
            unreadable=tuple(unreadable),
        )
