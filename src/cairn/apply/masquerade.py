"""Pods that speak to the world outside take their node's address.

    pod networks of all nodes, Uplink  ->  nftables table `cairn`

The reply to a pod's own packet could not find back otherwise: nobody outside knows its address.
What a pod answers through a Service's address is translated before it gets here.

Invariants  The table is replaced as a whole, in one transaction.
Standards   nft(8)
"""

import subprocess
from collections.abc import Iterable

from cairn.apply.uplink import Uplink
from cairn.net import Network

TABLE = "cairn"


def masquerade_rules(uplink: Uplink, cluster: Iterable[Network]) -> str:
    """Return the nftables script; `cluster` are the pod networks of all nodes."""
    networks = sorted(str(network) for network in cluster if network.version == 4)
    pods = "{ " + ", ".join(networks) + " }"
    rule = f'    ip saddr {pods} ip daddr != {pods} oifname "{uplink.name}" masquerade\n'
    return f"""table ip {TABLE} {{}}
delete table ip {TABLE}
table ip {TABLE} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
{rule if networks else ""}  }}
}}
"""


def apply_masquerade(uplink: Uplink, cluster: Iterable[Network]) -> list[str]:
    """Load the rules; return what failed."""
    script = masquerade_rules(uplink, cluster)
    try:
        done = subprocess.run(["nft", "-f", "-"], input=script, text=True, capture_output=True)
    except FileNotFoundError:
        return [
            "nft is not installed: pods reach nothing outside the cluster (apt install nftables)"
        ]
    return [f"nft: {line}" for line in done.stderr.splitlines() if line] if done.returncode else []
