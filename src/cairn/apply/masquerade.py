"""Pods that speak to the world outside take their node's address.

    pod networks and addresses of all nodes, Uplink  ->  nftables table `cairn`

The reply to a pod's own packet could not find back otherwise: nobody outside knows its address.
Nodes do, on whatever subnet: between pods and nodes addresses stay as they are, both ways.
What a pod answers through a Service's address is translated before it gets here.

Invariants  The table is replaced as a whole, in one transaction.
Standards   nft(8)
"""

import subprocess
from collections.abc import Iterable
from ipaddress import ip_network

from cairn.apply.uplink import Uplink
from cairn.net import Address, Network

TABLE = "cairn"
_FAMILIES = {4: "ip", 6: "ip6"}


def masquerade_rules(uplink: Uplink, cluster: Iterable[Network], nodes: Iterable[Address]) -> str:
    """Return the nftables script: `cluster` are the pod networks of all nodes."""
    networks = tuple(cluster)
    inside = (*networks, *(ip_network(address) for address in nodes))
    script = [f"table inet {TABLE} {{}}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    script += ["  chain postrouting {", "    type nat hook postrouting priority srcnat;"]
    for version, family in _FAMILIES.items():
        if pods := _set(networks, version):
            script.append(
                f"    {family} saddr {pods} {family} daddr != {_set(inside, version)} "
                f'oifname "{uplink.name}" masquerade'
            )
    return "\n".join([*script, "  }", "}", ""])


def _set(networks: Iterable[Network], version: int) -> str:
    texts = sorted({str(network) for network in networks if network.version == version})
    return "{ " + ", ".join(texts) + " }" if texts else ""


def apply_masquerade(
    uplink: Uplink, cluster: Iterable[Network], nodes: Iterable[Address]
) -> list[str]:
    """Load the rules; return what failed."""
    script = masquerade_rules(uplink, cluster, nodes)
    try:
        done = subprocess.run(["nft", "-f", "-"], input=script, text=True, capture_output=True)
    except FileNotFoundError:
        return [
            "nft is not installed: pods reach nothing outside the cluster (apt install nftables)"
        ]
    return [f"nft: {line}" for line in done.stderr.splitlines() if line] if done.returncode else []
