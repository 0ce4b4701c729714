"""The table of checks: what `cairn doctor` looks at, in the order in which causes come first.

CHECKS  ->  rows of one look: what was checked, what was found
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cairn.diagnose.doctor import (
    addresses,
    certificates,
    data_plane,
    history,
    itself,
    nodes,
    overlay,
    policies,
    proxies,
    sessions,
    wiring,
    workloads,
    written,
)
from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.doctor.causes import Ranked, rank
from cairn.diagnose.facts import Facts
from cairn.diagnose.finding import Finding, Weight


@dataclass(frozen=True, slots=True)
class Check:
    """One row."""

    area: str
    """Word for --area; rows of one area are shown as one line."""
    what: str
    """What is looked at."""
    run: Callable[[Facts, Bench], None]
    """Looks."""


CHECKS = (
    Check("nodes", "ready", nodes.check_ready),
    Check("cairn", "agents", itself.check_agents),
    Check("cairn", "operator", itself.check_operator),
    Check("nodes", "kernels", nodes.check_kernels),
    Check("nodes", "kernel settings", nodes.check_settings),
    Check("nodes", "links and MTU", nodes.check_links),
    Check("nodes", "neighbours", nodes.check_neighbours),
    Check("nodes", "paths", nodes.check_paths),
    Check("nodes", "overlay", overlay.check_overlay),
    Check("nodes", "routes to pods", nodes.check_pod_routes),
    Check("dataplane", "programs", data_plane.check_programs),
    Check("dataplane", "drift", data_plane.check_drift),
    Check("dataplane", "addresses served", wiring.check_vips),
    Check("dataplane", "pods wired", wiring.check_pods_wired),
    Check("dataplane", "maps", data_plane.check_maps),
    Check("dataplane", "drops and XDP", data_plane.check_drops),
    Check("policy", "in force", policies.check_enforced),
    Check("policy", "pods closed", policies.check_closed),
    Check("bgp", "peering policies", sessions.check_policies),
    Check("bgp", "nodes' configurations", sessions.check_honoured),
    Check("bgp", "sessions", sessions.check_sessions),
    Check("bgp", "configurations", sessions.check_honoured),
    Check("bgp", "sessions' lives", sessions.check_lives),
    Check("bgp", "router's routes", sessions.check_routes),
    Check("addresses", "pools", addresses.check_pools),
    Check("addresses", "Services", addresses.check_addresses),
    Check("services", "pods", workloads.check_pods),
    Check("services", "endpoints", workloads.check_services),
    Check("services", "backends", workloads.check_backends),
    Check("addresses", "announcements", addresses.check_announced),
    Check("addresses", "sharing", addresses.check_shared),
    Check("addresses", "ARP and ND", addresses.check_answered),
    Check("addresses", "L2 policies", addresses.check_l2_policies),
    Check("addresses", "proofs", wiring.check_proofs),
    Check("dns", "cluster DNS", proxies.check_dns),
    Check("proxies", "proxies", proxies.check_proxies),
    Check("proxies", "certificates", certificates.check_certificates),
    Check("cairn", "relay and history", history.check_history),
    Check("cairn", "restarts", itself.check_restarts),
    Check("cairn", "disks", itself.check_disks),
    Check("cairn", "versions", itself.check_versions),
    Check("nodes", "clocks", nodes.check_clocks),
    Check("nodes", "memory", nodes.check_memory),
    Check("cairn", "events", itself.check_events),
    Check("written", "objects", written.check_written),
)
AREAS = tuple(dict.fromkeys(check.area for check in CHECKS))


@dataclass(frozen=True, slots=True)
class Looked:
    """What one check came to."""

    check: Check
    bench: Bench


def examine(facts: Facts, areas: Iterable[str] = ()) -> list[Looked]:
    """Return what each check finds, in the order of the table; of some areas only, if named."""
    chosen = set(areas)
    looked = []
    for check in CHECKS:
        if not chosen or check.area in chosen:
            bench = Bench()
            check.run(facts, bench)
            looked.append(Looked(check, bench))
    return looked


def ranked(looked: Sequence[Looked]) -> list[Ranked]:
    """Return all findings in their places: the heaviest first, causes before what they bring."""
    return rank([finding for one in looked for finding in one.bench.findings])


def findings_of(looked: Sequence[Looked]) -> list[Finding]:
    """Return all findings in their places."""
    return [one.finding for one in ranked(looked)]


def is_healthy(found: Iterable[Finding]) -> bool:
    """Return whether nothing but notes was found."""
    return all(finding.kind.weight is Weight.NOTE for finding in found)
