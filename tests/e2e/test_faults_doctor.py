"""Faults that a walk cannot see: the doctor names each first, and nothing once it is cleared."""

import json
from collections.abc import Iterator

import pytest
from fault_run import WELL_WITHIN_S, broken, is_well, named_first
from lab_run import LabRun, wait_for

from cairn.lab import faults
from cairn.lab.breakages.catalogue import FAULTS
from cairn.lab.state import load_lab

pytestmark = pytest.mark.lab

PEERING = ("ciliumbgppeeringpolicy", "homelab-bgp-peering")
EXAMINED = {fault.name: fault for fault in FAULTS if fault.finding and not fault.why}
HELD = ("bgp-lost", "bgp-filtered", "hang")
"""They are seen when a hold time has passed: a short one, here."""
PREPARED = ("router-limit", "proxy-hangs", "name-not-learnt", "overlay-lost")
"""They need something else besides."""
ALONE = sorted(set(EXAMINED) - {*HELD, *PREPARED})
SECOND = """
apiVersion: v1
kind: Service
metadata: {name: second, namespace: default, labels: {io.cilium/lb-ipam-ips: pool-homelab}}
spec: {type: LoadBalancer, selector: {app: web-app}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture(scope="module", autouse=True)
def well(lab: LabRun) -> None:
    wait_for("a lab that is well before the faults", lambda: is_well(lab), within_s=WELL_WITHIN_S)


@pytest.fixture(scope="module")
def second(lab: LabRun) -> Iterator[None]:
    """A second address that the nodes announce."""
    lab.apply(SECOND)
    try:

        def address() -> list[dict[str, str]]:
            return list(lab.get("service", "second")["status"]["loadBalancer"].get("ingress", ()))

        ip = wait_for("its address", address)[0]["ip"]
        wait_for("its routes", lambda: len(lab.next_hops(ip)) == 3)
        yield
    finally:
        lab.kubectl("delete", "service", "second")


@pytest.fixture(scope="module")
def short_hold(lab: LabRun) -> Iterator[None]:
    """Hold times of three seconds."""
    policy = lab.get(*PEERING)
    timers = ("holdTimeSeconds", "keepAliveTimeSeconds")
    before = policy["spec"]["virtualRouters"][0]["neighbors"][0]

    def set_timers(*seconds: int) -> None:
        now = lab.get(*PEERING)
        neighbor = now["spec"]["virtualRouters"][0]["neighbors"][0]
        neighbor |= dict(zip(timers, seconds, strict=True))
        lab.kubectl("replace", "-f", "-", stdin=json.dumps(now))

    set_timers(3, 1)
    try:
        yield
    finally:
        set_timers(*(before[timer] for timer in timers))
        wait_for("routes again", lambda: len(lab.next_hops()) == 3)


def test_every_fault_has_a_test() -> None:
    assert len(EXAMINED) >= 22
    assert {*ALONE, *HELD, *PREPARED} == EXAMINED.keys()


@pytest.mark.parametrize("name", ALONE)
def test_the_cause_is_named_first(lab: LabRun, name: str) -> None:
    with broken(lab, name) as fault:
        named_first(lab, fault)


@pytest.mark.parametrize("name", HELD)
def test_a_session_that_ends_by_its_hold_time(lab: LabRun, short_hold: None, name: str) -> None:
    with broken(lab, name) as fault:
        named_first(lab, fault)


def test_a_limit_of_prefixes(lab: LabRun, second: None) -> None:
    with broken(lab, "router-limit") as fault:
        named_first(lab, fault)


@pytest.fixture
def http_rules(lab: LabRun) -> Iterator[str]:
    """HTTP rules for a pod; yields its node."""
    record = load_lab(lab.name)
    faults.inject(record, "deny-request", "production")
    try:
        yield str(lab.pods("tier=web", "production")[0]["spec"]["nodeName"])
    finally:
        faults.clear(record, "deny-request")


def test_a_proxy_that_hangs(lab: LabRun, http_rules: str) -> None:
    with broken(lab, "proxy-hangs", http_rules) as fault:
        named_first(lab, fault)
