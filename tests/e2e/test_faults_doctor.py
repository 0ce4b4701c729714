"""Faults that a walk cannot see: the doctor names each first, and nothing once it is cleared."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from fault_run import (
    NAMED_WITHIN_S,
    WELL_WITHIN_S,
    broken,
    examine,
    is_well,
    named_first,
    notes,
)
from lab_run import LabRun, wait_for

from cairn.lab import faults
from cairn.lab.breakages.catalogue import FAULTS
from cairn.lab.state import load_lab

pytestmark = pytest.mark.lab

PEERING = ("ciliumbgppeeringpolicy", "homelab-bgp-peering")
EXAMINED = {fault.name: fault for fault in FAULTS if fault.finding and not fault.why}
HELD = ("bgp-lost", "bgp-filtered", "hang")
"""They are seen when a hold time has passed: a short one, here."""
PREPARED = ("router-limit", "proxy-hangs", "overlay-lost")
"""They need something else besides; the last one a node on another subnet."""
NOTED = ("policy-disabled",)
"""Worth a note, and nothing is wrong."""
TOGETHER = ("arp-flux", "certificate-ended", "dns-hangs", "full-disk", "full-map",
            "no-forwarding", "overlapping-pool", "rp-filter", "small-mtu")  # fmt: skip
"""Each is seen at once and is of its own: they are in force together."""
ALONE = sorted(set(EXAMINED) - {*HELD, *PREPARED, *NOTED, *TOGETHER})
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
    timers = ("holdTimeSeconds", "keepAliveTimeSeconds")
    before = lab.get(*PEERING)["spec"]["virtualRouters"][0]["neighbors"][0]

    def set_timers(*seconds: int) -> None:
        path = "/spec/virtualRouters/0/neighbors/0"
        patch = [
            {"op": "replace", "path": f"{path}/{timer}", "value": value}
            for timer, value in zip(timers, seconds, strict=True)
        ]
        lab.kubectl("patch", *PEERING, "--type=json", "-p", json.dumps(patch))

    set_timers(3, 1)
    try:
        yield
    finally:
        set_timers(*(before[timer] for timer in timers))
        wait_for("routes again", lambda: len(lab.next_hops()) == 3)


def test_every_fault_has_a_test() -> None:
    assert len(EXAMINED) >= 22
    assert {*ALONE, *TOGETHER, *HELD, *PREPARED, *NOTED} == EXAMINED.keys()


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


@pytest.mark.parametrize("name", NOTED)
def test_what_somebody_wanted_is_noted(lab: LabRun, name: str) -> None:
    with broken(lab, name) as fault:
        wait_for(f"{fault.finding}", lambda: fault.finding in notes(lab))
        assert is_well(lab)
    assert fault.finding not in notes(lab)


# The last in this module: what they put in force lasts until its end.


@pytest.fixture(scope="module")
def together(lab: LabRun) -> Iterator[list[dict[str, Any]]]:
    """Several faults at once: what the doctor finds when it has found as many causes."""
    record, rows = load_lab(lab.name), [EXAMINED[name] for name in TOGETHER]
    try:
        for fault in rows:
            faults.inject(record, fault.name, *fault.example.split())
        wanted = Counter(fault.finding for fault in rows)
        yield wait_for(f"{len(rows)} causes", lambda: told(lab, wanted), within_s=NAMED_WITHIN_S)
    finally:
        faults.clear(record)
    wait_for("all of them gone", lambda: is_well(lab), within_s=WELL_WITHIN_S)


def told(lab: LabRun, wanted: "Counter[str]") -> list[dict[str, Any]]:
    """Return what is found, once these are among it."""
    found = examine(lab)
    return found if wanted <= Counter(one["code"] for one in found) else []


@pytest.mark.parametrize("name", TOGETHER)
def test_the_cause_is_named_first_of_its_own(together: list[dict[str, Any]], name: str) -> None:
    fault = EXAMINED[name]
    of_its_own = [one for one in together if fault.finding in (one["code"], one["follows"][:7])]
    assert of_its_own[0]["code"] == fault.finding
    assert of_its_own[0]["follows"] == ""


def test_nothing_but_the_causes_is_a_cause(together: list[dict[str, Any]]) -> None:
    causes = sorted(one["code"] for one in together if not one["follows"])
    assert causes == sorted(EXAMINED[name].finding for name in TOGETHER)
