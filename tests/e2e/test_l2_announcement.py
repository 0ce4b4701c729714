"""Addresses in the nodes' own subnet: who answers, who takes over, and strangers."""

import itertools
import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from lab_run import CAIRN, VIP, LabRun, wait_for
from test_resilience import kill
from test_restarts import agents
from test_scenario import settled

from cairn.lab import faults
from cairn.lab.state import load_lab

pytestmark = [pytest.mark.lab, pytest.mark.root]

POOL = "192.168.1.{}"
ANSWER = re.compile(r"\[(\d+\.\d+)\] \d+ bytes")


def answering(lab: LabRun, address: str = VIP) -> list[str]:
    """Return the nodes that say they answer for an address."""
    nodes = lab.get("ciliumnodes")["items"]
    return [
        node["metadata"]["name"]
        for node in nodes
        if address in (node.get("status") or {}).get("l2", {}).get("answered", ())
    ]


def uplink_mac(lab: LabRun, node: str) -> str:
    return str(lab.get("ciliumnode", node)["metadata"]["annotations"]["cairn.io/uplink-mac"])


def neighbour(lab: LabRun, address: str = VIP) -> str:
    """Return the Ethernet address that client-2 has for an address."""
    text = lab.on("client-2", "ip", "-j", "neigh", "show", address)
    return next((str(row.get("lladdr", "")) for row in json.loads(text or "[]")), "")


class Pings:
    """Fifty pings a second from client-2, in the background."""

    def __init__(self, lab: LabRun, seconds: float, address: str = VIP) -> None:
        words = (CAIRN, "lab", "exec", "--name", lab.name, "client-2", "--")
        ping = ("ping", "-n", "-D", "-i", "0.02", "-c", str(int(seconds * 50)), address)
        self._process = subprocess.Popen((*words, *ping), text=True, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.lines = [self._process.stdout.readline(), self._process.stdout.readline()]

    def longest_gap_s(self) -> float:
        out, _ = self._process.communicate(timeout=60)
        times = [float(at) for at in ANSWER.findall("".join([*self.lines, out]))]
        assert len(times) > 50, out
        return max(later - earlier for earlier, later in itertools.pairwise(times))


def one_answers(lab: LabRun, address: str = VIP, *, but: str = "") -> str:
    """Wait until one node says that it answers, other than `but`, and return it."""

    def one() -> str:
        nodes = [node for node in answering(lab, address) if node != but]
        return nodes[0] if len(nodes) == 1 else ""

    return wait_for("one node answers", one)


@pytest.fixture(params=["IPv4", "IPv6"])
def vip(lab: LabRun, request: pytest.FixtureRequest) -> Iterator[str]:
    """An address of each family in the nodes' subnet, in use."""
    settled(lab)
    if request.param == "IPv4":
        yield VIP
        return
    blocks = [{"start": "fd00:1::100", "stop": "fd00:1::10f"}]
    selector = {"matchLabels": {"l2": "six"}}
    pool: dict[str, Any] = {"apiVersion": "cilium.io/v2alpha1"}
    pool["kind"] = "CiliumLoadBalancerIPPool"
    pool |= {"metadata": {"name": "six"}, "spec": {"blocks": blocks, "serviceSelector": selector}}
    lab.apply(json.dumps(pool))
    try:
        six = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}
        lab.apply(service("l2-six", {"l2": "six"}, **six))
        yield address_of(lab, "l2-six")
    finally:
        lab.kubectl("delete", "service", "l2-six", "--ignore-not-found")
        lab.kubectl("delete", "ciliumloadbalancerippool", "six")


def test_another_node_takes_over_within_a_second(lab: LabRun, vip: str) -> None:
    home = one_answers(lab, vip)
    gaps: list[float] = []
    while not gaps or (gaps[-1] >= 1.0 and len(gaps) < 3):  # a busy machine may be late once
        pings = Pings(lab, 5, vip)
        lab.cairn("lab", "fault", "--name", lab.name, "partition", home)
        try:
            gaps.append(pings.longest_gap_s())
            other = one_answers(lab, vip, but=home)
            assert neighbour(lab, vip) == uplink_mac(lab, other)
        finally:
            lab.cairn("lab", "fault", "--name", lab.name, "clear")
        wait_for("the first one again", lambda: answering(lab, vip) == [home])
        wait_for("client-2 knows", lambda: neighbour(lab, vip) == uplink_mac(lab, home))
    print(f"client-2, node that answers for {vip} cut off: longest gap {gaps} s")
    assert gaps[-1] < 1.0
    settled(lab)


def test_a_restart_of_the_agent_is_not_a_death(lab: LabRun) -> None:
    settled(lab)
    home = one_answers(lab)
    wait_for("every session is up", lambda: all_up(speakers_on_bfd(lab)))
    before, said = agents(lab), speakers_on_bfd(lab)
    pings = Pings(lab, 8)
    kill(lab, "agent")
    wait_for(
        "the agents are back",
        lambda: len(agents(lab)) == 3 and not set(agents(lab)) & set(before),
    )
    assert pings.longest_gap_s() < 0.5
    settled(lab)
    assert answering(lab) == [home]
    assert speakers_on_bfd(lab) == said


def speakers_on_bfd(lab: LabRun) -> dict[str, list[str]]:
    """Return what every speaker has said of its BFD sessions so far."""
    found = {}
    for pod in lab.pods("k8s-app=cairn", "kube-system"):
        name = pod["metadata"]["name"]
        log = lab.kubectl("logs", "-n", "kube-system", name, "-c", "speaker")
        found[name] = [line for line in log.splitlines() if "BFD" in line]
    assert all(found.values())
    return found


def all_up(said: dict[str, list[str]]) -> bool:
    """Return whether every speaker's last word on both its neighbours is that they are up."""
    last = [
        {line.split("BFD with ")[1].split()[0]: line for line in lines} for lines in said.values()
    ]
    return all(
        len(lines) == 2 and all(line.endswith("is up") for line in lines.values()) for lines in last
    )


HOMELAB = {"io.cilium/lb-ipam-ips": "pool-homelab"}


def service(name: str, labels: dict[str, str] | None = None, **more: Any) -> str:
    spec: dict[str, Any] = {"type": "LoadBalancer", "selector": {"app": "web-app"}, **more}
    spec["ports"] = [{"port": 80, "targetPort": 8080}]
    metadata = {"name": name, "namespace": "default", "labels": labels or HOMELAB}
    return json.dumps({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})


def address_of(lab: LabRun, name: str) -> str:
    def given() -> str:
        status = lab.get("service", name)["status"]
        return "".join(e["ip"] for e in status.get("loadBalancer", {}).get("ingress", ()))

    return wait_for(f"the address of {name}", given)


def conditions(lab: LabRun, *what: str) -> dict[str, dict[str, Any]]:
    status = lab.get(*what).get("status") or {}
    return {item["type"]: item for item in status.get("conditions") or ()}


def own(lab: LabRun, address: str, *, add: bool) -> None:
    """Give client-2 an address of the pool, or take it away."""
    lab.on("client-2", "ip", "addr", "add" if add else "del", f"{address}/32", "dev", "eth0")


@pytest.fixture
def one(lab: LabRun) -> Iterator[str]:
    """A Service, which goes again."""
    yield "l2-one"
    lab.kubectl("delete", "service", "l2-one", "--ignore-not-found")


def test_an_address_of_a_stranger_is_skipped_and_named(lab: LabRun, one: str) -> None:
    mac = json.loads(lab.on("client-2", "ip", "-j", "link", "show", "eth0"))[0]["address"]
    own(lab, "192.168.1.101", add=True)
    try:
        lab.apply(service(one))
        assert address_of(lab, one) == "192.168.1.102"
        told = conditions(lab, "service", one)["cilium.io/IPAMRequestSatisfied"]
        assert told["status"] == "True"
        assert f"192.168.1.101 is answered for by {mac}" in told["message"]
        wait_for(
            "the pool names it",
            lambda: (
                f"192.168.1.101 is answered for by {mac}"
                in conditions(lab, "ciliumloadbalancerippool", "homelab-pool")["cairn.io/Findings"][
                    "message"
                ]
            ),
        )
    finally:
        own(lab, "192.168.1.101", add=False)


def test_a_stranger_that_comes_later_is_told_at_the_service(lab: LabRun, one: str) -> None:
    lab.apply(service(one))
    address = address_of(lab, one)
    wait_for("somebody answers", lambda: answering(lab, address))
    mac = json.loads(lab.on("client-2", "ip", "-j", "link", "show", "eth0"))[0]["address"]
    record, stranger = load_lab(lab.name), faults.find("duplicate-address")
    faults.inject(record, stranger.name, "client-2", address)
    try:
        wait_for(
            "the conflict",
            lambda: "cairn.io/AddressConflict" in conditions(lab, "service", one),
            within_s=45,
        )
        found = conditions(lab, "service", one)["cairn.io/AddressConflict"]
        assert found["status"] == "True"
        assert f"{address} is answered for by {mac} too" in found["message"]
        events = lab.get("events", "--field-selector", f"involvedObject.name={one}")["items"]
        assert "AddressConflict" in {event["reason"] for event in events}
        status = lab.cairn("status", "-o", "json", check=False)
        assert f"{address} is answered for by {mac} too" in status
        told = json.loads(lab.cairn("why", "client-1", address, "-o", "json", check=False))
        assert told["findings"][0]["code"] == stranger.finding
    finally:
        faults.clear(record, stranger.name)
    wait_for(
        "it is over",
        lambda: "cairn.io/AddressConflict" not in conditions(lab, "service", one),
        within_s=45,
    )


def policy(name: str, **spec: Any) -> str:
    body = {"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumL2AnnouncementPolicy"}
    return json.dumps({**body, "metadata": {"name": name}, "spec": spec})


def test_a_policy_says_who_answers_or_why_nobody_does(lab: LabRun) -> None:
    settled(lab)
    home = one_answers(lab)
    other = next(f"node-{n}" for n in (1, 2, 3) if f"node-{n}" != home)
    host = {"matchLabels": {"kubernetes.io/hostname": other}}
    nobody = {"matchLabels": {"app": "nobody"}}
    try:
        lab.apply(policy("l2", loadBalancerIPs=True, nodeSelector=host))
        wait_for("the node that it selects", lambda: answering(lab) == [other])
        wait_for("client-2 knows", lambda: neighbour(lab) in ("", uplink_mac(lab, other)))
        lab.web("client-2")
        selected = conditions(lab, "ciliuml2announcementpolicy", "l2")["cairn.io/Selected"]
        assert (selected["status"], other in selected["message"]) == ("True", True)
        lab.apply(policy("l2", loadBalancerIPs=True, serviceSelector=nobody, interfaces=["wl("]))
        wait_for("nobody", lambda: answering(lab) == [])
        told = conditions(lab, "ciliuml2announcementpolicy", "l2")
        assert told["cairn.io/Selected"]["status"] == "False"
        assert "app=nobody selects no Service" in told["cairn.io/Selected"]["message"]
        assert "'wl(' is no regular expression" in told["cairn.io/Findings"]["message"]
    finally:
        lab.kubectl("delete", "ciliuml2announcementpolicy", "l2", "--ignore-not-found")
    wait_for("as before", lambda: answering(lab) == [home])
