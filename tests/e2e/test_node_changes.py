"""A node whose facts change under way: its agent starts anew with them, sessions stay up."""

import pytest
from lab_run import VIP, LabRun, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root]

OTHER = "02:aa:bb:cc:dd:01"


def told_mac(lab: LabRun) -> str:
    """Return the Ethernet address that node-1 tells its peers."""
    annotations = lab.get("ciliumnode", "node-1")["metadata"]["annotations"]
    return str(annotations["cairn.io/uplink-mac"])


def sessions(lab: LabRun) -> int:
    """Return how many sessions of the router are established."""
    rows = lab.on("router", "bgpctl", "show", "neighbor").splitlines()[1:]
    return sum(row.split()[-1].isdigit() for row in rows)


def test_another_uplink_address_is_told_and_served(lab: LabRun) -> None:
    before = told_mac(lab)
    try:
        lab.on("node-1", "ip", "link", "set", "eth0", "address", OTHER)
        wait_for("the new address at the peers", lambda: told_mac(lab) == OTHER, within_s=90)
        ask = ("client-1", "curl", "-sS", "-m", "5", f"http://{VIP}")
        wait_for("answers", lambda: "pod:" in lab.on(*ask, check=False))
        assert sessions(lab) == 3
    finally:
        lab.on("node-1", "ip", "link", "set", "eth0", "address", before)
        wait_for("the old address again", lambda: told_mac(lab) == before, within_s=90)


def records(lab: LabRun) -> str:
    """Return the names of the nodes' records."""
    return lab.kubectl("get", "ciliumnodes", "-o", "name")


def test_a_record_and_routes_that_are_removed_come_back(lab: LabRun) -> None:
    lab.on("node-1", "ip", "route", "flush", "proto", "201")
    lab.kubectl("delete", "ciliumnode", "node-2")
    wait_for("node-2's record", lambda: "node-2" in records(lab), within_s=60)
    wait_for(
        "node-1's route to node-2's pods",
        lambda: "10.244.2.0/24" in lab.on("node-1", "ip", "route", "show", "proto", "201"),
        within_s=90,
    )
