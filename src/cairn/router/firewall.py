"""Guard the BGP port: the peers' networks may connect, everyone else is dropped and counted.

    peer networks, port  ->  one nftables table, replaced in one transaction

Invariants  Only the table `inet cairn_router` is touched; it goes when the router stops.
"""

import shutil
import subprocess
from collections.abc import Sequence

from cairn.net import Network

TABLE = "inet cairn_router"


class FirewallFailed(RuntimeError):
    """The rules could not be written; the text says why and what to do."""


def compile_rules(networks: Sequence[Network], port: int) -> str:
    """Return the nft script that puts the guard in place of any earlier one."""
    lines = [
        f"add table {TABLE}",
        f"delete table {TABLE}",
        f"table {TABLE} {{",
        "\tchain bgp {",
        "\t\ttype filter hook input priority -10; policy accept;",
        '\t\tiifname "lo" accept',
    ]
    for version, word in ((4, "ip"), (6, "ip6")):
        members = sorted(str(network) for network in networks if network.version == version)
        if members:
            allowed = ", ".join(members)
            lines.append(f"\t\ttcp dport {port} {word} saddr {{ {allowed} }} accept")
    lines += [f"\t\ttcp dport {port} counter drop", "\t}", "}", ""]
    return "\n".join(lines)


def apply_rules(script: str) -> None:
    """Write the rules; raises FirewallFailed."""
    if shutil.which("nft") is None:
        raise FirewallFailed(
            "nft is not installed: install the package nftables, or set `firewall: false`"
        )
    done = subprocess.run(["nft", "-f", "-"], input=script, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        raise FirewallFailed(f"nft refused the rules for the BGP port: {reason}")


def remove_rules() -> None:
    """Remove the guard; one that is not there is no error."""
    apply_rules(f"add table {TABLE}\ndelete table {TABLE}\n")
