"""Every kind of Service, from every kind of client, over IPv4 and IPv6.

Each row of CASES names the behaviour it checks. All questions of a client are asked in one go, so
that the table may grow without the run growing as much.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from lab_run import LabRun, wait_for
from service_bed import (
    CLIENTS,
    HOST_PORT,
    INSIDE,
    NAMESPACE,
    NODE_ADDRESSES,
    OUTSIDE,
    PODS,
    PORT,
    Bed,
    Case,
    pod,
    pools,
    server,
    service,
)

pytestmark = [pytest.mark.lab, pytest.mark.root]

PAIR = {"app": "pair"}
EXTERNAL_IPS = ("203.0.113.7", "fd00:203::7")
NOBODY = ("198.51.100.9", "fd00:200::9")
REFUSED = ("ConnectionRefusedError",)
UNREACHABLE = ("OSError", "ConnectionRefusedError")
SILENT = ("timeout",)

CASES = (
    # ClusterIP
    Case("ClusterIP: every ready pod gets connections", "inside", clients=INSIDE),
    Case("UDP, numeric targetPort", "inside", 81, "udp", clients=INSIDE),
    Case(
        "ClusterIP without endpoints refuses at once", "none", clients=INSIDE, by=(), error=REFUSED
    ),
    Case(
        "hairpin: a pod reaches itself through its Service",
        "mirror",
        clients=("near",),
        by=("near",),
    ),
    Case(
        "internalTrafficPolicy Local: only pods of the client's node",
        "inside-local",
        clients=("node-1", "near"),
        by=("one",),
    ),
    Case(
        "internalTrafficPolicy Local: none on this node, refused",
        "inside-local",
        clients=("node-3", "far"),
        by=(),
        error=REFUSED,
    ),
    Case("a hostNetwork pod as backend", "on-host", clients=INSIDE, by=("three",)),
    Case(
        "publishNotReadyAddresses serves pods that are not ready",
        "early",
        clients=INSIDE,
        by=("unready",),
    ),
    Case("a pod that is not ready gets nothing", "late", clients=INSIDE, by=(), error=REFUSED),
    Case("sessionAffinity ClientIP: one client, one pod", "sticky", clients=INSIDE, all_of=False),
    Case(
        "trafficDistribution PreferClose: pods of the client's zone",
        "close",
        clients=("node-1", "near"),
        by=("one",),
    ),
    # LoadBalancer
    Case("LoadBalancer: the client's address is preserved", "outside", address="vip"),
    Case("LoadBalancer, UDP", "outside", 81, "udp", address="vip"),
    Case(
        "LoadBalancer, datagrams in fragments",
        "outside",
        81,
        "udp",
        address="vip",
        pad=4000,
        times=8,
        all_of=False,
    ),
    Case(
        "externalTrafficPolicy Local: through the router to every node with a pod",
        "outside-local",
        address="vip",
        clients=("client-1",),
    ),
    Case(
        "externalTrafficPolicy Local: on the link, the node that answers ARP",
        "outside-local",
        address="vip",
        clients=("client-2",),
        all_of=False,
    ),
    Case(
        "externalTrafficPolicy Local: inside, all pods serve",
        "outside-local",
        address="vip",
        clients=INSIDE,
    ),
    Case(
        "a port without Service refuses TCP at once",
        "outside",
        4444,
        address="vip",
        clients=OUTSIDE,
        by=(),
        error=REFUSED,
    ),
    Case(
        "a port without Service refuses UDP at once",
        "outside",
        4444,
        "udp",
        address="vip",
        clients=OUTSIDE,
        by=(),
        error=REFUSED,
    ),
    Case(
        "hairpin through the load-balancer address",
        "mirror",
        address="vip",
        clients=("near",),
        by=("near",),
    ),
    Case(
        "a hostNetwork pod behind a load-balancer address", "on-host", address="vip", by=("three",)
    ),
    Case(
        "sessionAffinity ClientIP from outside",
        "sticky",
        address="vip",
        clients=OUTSIDE,
        all_of=False,
    ),
    Case(
        "loadBalancerSourceRanges: a client inside the range",
        "ranged",
        address="vip",
        clients=("client-1",),
    ),
    Case(
        "loadBalancerSourceRanges: others get nothing",
        "ranged",
        address="vip",
        clients=("client-2",),
        by=(),
        error=SILENT,
        times=2,
    ),
    # NodePort
    Case("NodePort at a node with a pod", "ported", -80, address="node-1"),
    Case("NodePort at a node without one", "ported", -80, address="node-3"),
    Case("NodePort, UDP", "ported", -81, "udp", address="node-3"),
    Case(
        "NodePort with externalTrafficPolicy Local: pods of that node",
        "ported-local",
        -80,
        address="node-1",
        clients=OUTSIDE,
        by=("one",),
    ),
    Case(
        "NodePort with externalTrafficPolicy Local at a node without a pod",
        "ported-local",
        -80,
        address="node-3",
        clients=OUTSIDE,
        by=(),
        error=(*SILENT, *REFUSED),
        times=2,
    ),
    Case("a node's own ports stay its own", "", HOST_PORT, address="node-3", by=("three",)),
    # externalIPs, hostPort
    Case("externalIPs", "extra", address=EXTERNAL_IPS, clients=("client-1", *INSIDE)),
    Case("hostPort", "", 8888, address="node-2", by=("two",)),
    # addresses of a pool that nobody holds
    Case(
        "a pool's free address is unreachable at once",
        "",
        80,
        address=NOBODY,
        clients=("client-1",),
        by=(),
        error=UNREACHABLE,
        times=2,
    ),
)


def objects() -> list[dict[str, Any]]:
    """Return everything the cases need."""
    not_ready: dict[str, Any] = {
        "readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}
    }
    balanced: dict[str, Any] = {"type": "LoadBalancer"}
    local: dict[str, Any] = {"externalTrafficPolicy": "Local"}
    ranges = ["192.168.50.0/24", "fd00:50::/64"]
    host_port: dict[str, Any] = {
        "ports": [{"name": "answers", "containerPort": PORT, "hostPort": 8888}]
    }
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *pools(),
        server("one", "node-1", labels=PAIR),
        server("two", "node-2", labels=PAIR, container=host_port),
        server("three", "node-3", HOST_PORT, host=True),
        server("near", "node-1", labels={"role": "client"}),
        pod("far", "node-3", {"role": "client"}),
        server("unready", "node-2", container=not_ready),
        service("inside", PAIR),
        service("none", {"app": "none"}),
        service("mirror", {"server": "near"}, **balanced),
        service("inside-local", PAIR, internalTrafficPolicy="Local"),
        service("on-host", {"server": "three"}, **balanced),
        service("early", {"server": "unready"}, publishNotReadyAddresses=True),
        service("late", {"server": "unready"}),
        service("sticky", PAIR, sessionAffinity="ClientIP", **balanced),
        service("close", PAIR, trafficDistribution="PreferClose"),
        service("outside", PAIR, **balanced),
        service("outside-local", PAIR, **balanced, **local),
        service("ranged", PAIR, loadBalancerSourceRanges=ranges, **balanced),
        service("ported", PAIR, type="NodePort"),
        service("ported-local", PAIR, type="NodePort", **local),
        service("extra", PAIR, externalIPs=list(EXTERNAL_IPS)),
    ]


@pytest.fixture(scope="module")
def bed(lab: LabRun) -> Iterator[Bed]:
    """The lab with every object of this module in force."""
    made = Bed(lab)
    for number in (1, 2, 3):
        lab.kubectl("label", "node", f"node-{number}", f"topology.kubernetes.io/zone=z{number}")
    made.apply(objects())
    try:
        made.wait_ready("one", "two", "three", *PODS)
        _add_routes(lab)
        yield made
    finally:
        lab.kubectl("delete", "namespace", NAMESPACE, "--wait=true")
        lab.kubectl("delete", "ciliumloadbalancerippools", "kinds", "nobody")
        for number in (1, 2, 3):
            lab.kubectl("label", "node", f"node-{number}", "topology.kubernetes.io/zone-")


def _add_routes(lab: LabRun) -> None:
    # What an administrator does for addresses that are not announced: a route by hand.
    for prefix, via in (
        (f"{EXTERNAL_IPS[0]}/32", "192.168.1.12"),
        (f"{EXTERNAL_IPS[1]}/128", "fd00:1::c"),
        ("198.51.100.0/24", "192.168.1.10"),
        ("fd00:200::/64", "fd00:1::a"),
    ):
        lab.on("router", "ip", "route", "replace", prefix, "via", via)


@pytest.fixture(scope="module")
def answers(bed: Bed) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """What every client got, by case, client and family."""
    targets = {case.name: _where(bed, case) for case in CASES}
    _wait_announced(bed)
    found = {}
    for client in CLIENTS:
        questions = [
            {
                "id": f"{case.name}/{family}",
                "protocol": case.protocol,
                "host": targets[case.name][0][0 if family == 4 else 1],
                "port": targets[case.name][1],
                "times": case.times,
                "pad": case.pad,
            }
            for case in CASES
            if client in case.clients
            for family in case.families
        ]
        for name, given in bed.ask(client, questions).items():
            case_name, _, family_text = name.rpartition("/")
            found[case_name, client, int(family_text)] = given
    return found


def _where(bed: Bed, case: Case) -> tuple[tuple[str, str], int]:
    """Return the two addresses and the port that a case asks; a negative port is a node port."""
    port = case.port if case.port > 0 else bed.node_port(case.service, -case.port)
    if isinstance(case.address, tuple):
        return case.address, port
    if case.address in NODE_ADDRESSES:
        return NODE_ADDRESSES[case.address], port
    if case.address == "vip":
        return bed.vips(case.service), port
    addresses = bed.spec(case.service)["clusterIPs"]
    return (addresses[0], addresses[1]), port


def _wait_announced(bed: Bed) -> None:
    for name in ("outside", "on-host", "mirror", "sticky", "ranged", "outside-local"):
        for address in bed.vips(name):
            wait_for(f"a route to {address}", partial(bed.lab.next_hops, address))


def rows() -> list[Any]:
    """Return one test per case, client and family."""
    return [
        pytest.param(case, client, family, id=f"{case.name}-{client}-v{family}")
        for case in CASES
        for client in case.clients
        for family in case.families
    ]


@pytest.mark.parametrize(("case", "client", "family"), rows())
def test_service(
    case: Case,
    client: str,
    family: int,
    bed: Bed,
    answers: dict[tuple[str, str, int], list[dict[str, Any]]],
) -> None:
    given = answers[case.name, client, family]
    errors = {answer["error"] for answer in given if "error" in answer}
    if not case.by:
        assert errors, f"{case.behaviour}: answered {given}"
        assert errors <= set(case.error), case.behaviour
        return
    assert not errors, f"{case.behaviour}: {given}"
    names = {answer["name"] for answer in given}
    assert names <= set(case.by), case.behaviour
    assert len(given) == case.times
    if case.all_of:
        assert names == set(case.by), case.behaviour
    elif "Affinity" in case.behaviour:
        assert len(names) == 1, case.behaviour
    own = bed.addresses[client][0 if family == 4 else 1]
    own_names = {"node-1": "one", "node-3": "three", "near": "near", "far": ""}
    seen = {a["client"] for a in given if a["name"] != own_names.get(client)}
    assert seen <= {own}, f"{case.behaviour}: the client's address is preserved"
    if case.pad:
        assert min(answer["octets"] for answer in given) > case.pad
