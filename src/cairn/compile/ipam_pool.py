"""What a pool's status should say: counts, conflicts, and what its author should know.

    AddressSpace, the nodes' networks  ->  PoolState per pool

Standards   Cilium LB-IPAM pool conditions
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cairn.compile.ipam_reason import stranger_text
from cairn.compile.ipam_space import AddressSpace, Slot, spell, total
from cairn.kube.finding import Finding
from cairn.kube.pool import Block, Pool
from cairn.net import Network

ASKING = {4: "ARP", 6: "neighbour discovery"}


@dataclass(frozen=True, slots=True)
class PoolState:
    """One pool's status."""

    total: int
    """Addresses it has."""
    used: int
    """Addresses that Services hold."""
    reserved: int
    """Addresses that belong to nodes or routers and are never given."""
    conflict: str
    """Why it hands out nothing although enabled; empty if it does."""
    findings: tuple[Finding, ...]
    """What its author should know."""

    @property
    def available(self) -> int:
        """Addresses that are free."""
        return self.total - self.used - self.reserved


def pool_states(space: AddressSpace, node_networks: Sequence[Network]) -> dict[str, PoolState]:
    """Return the state of every pool."""
    return {pool.name: _state(space, pool, node_networks) for pool in space.pools}


def _state(space: AddressSpace, pool: Pool, node_networks: Sequence[Network]) -> PoolState:
    inside = {
        slot: owner
        for slot, owner in space.reserved.items()
        if slot not in space.holders and pool.holds(*slot)
    }
    conflict = ""
    if overlap := space.overlaps.get(pool.name):
        conflict = (
            f"block {overlap.block.text} overlaps {overlap.other_block.text} of the older pool "
            f"{overlap.other}: this pool hands out nothing until one of them changes"
        )
    strangers = {
        slot: mac
        for slot, mac in space.proof.strangers.items()
        if (slot not in space.holders or slot in space.due)
        and slot not in space.reserved
        and pool.holds(*slot)
    }
    findings = [*pool.findings, *_reserved(inside), *_strangers(strangers)]
    findings += _on_link(pool, node_networks)
    return PoolState(total(pool), space.used[pool.name], len(inside), conflict, tuple(findings))


def _reserved(inside: dict[Slot, str]) -> list[Finding]:
    return [
        Finding(
            "ReservedAddress",
            f"{spell(slot)} belongs to {owner} and is never given: leave it out of the pool",
        )
        for slot, owner in sorted(inside.items())
    ]


def _strangers(strangers: dict[Slot, str]) -> list[Finding]:
    return [
        Finding("StrangersAddress", stranger_text(slot, mac))
        for slot, mac in sorted(strangers.items())
    ]


def _on_link(pool: Pool, node_networks: Sequence[Network]) -> list[Finding]:
    findings = []
    for block in pool.blocks:
        home = next((network for network in node_networks if _within(block, network)), None)
        if home:
            findings.append(
                Finding(
                    "NodeSubnet",
                    f"block {block.text} seems to lie in the nodes' own subnet {home}: a client "
                    f"there asks for a VIP by {ASKING[block.version]} and uses no BGP route; one "
                    "of the nodes that serve the address answers (chosen by hash; another within "
                    "a second of its end), so such clients reach it through that node, without "
                    "ECMP; take a range of its own to spread them",
                )
            )
    return findings


def _within(block: Block, network: Network) -> bool:
    if block.version != network.version:
        return False
    first, last = int(network.network_address), int(network.broadcast_address)
    return block.first <= last and first <= block.last
