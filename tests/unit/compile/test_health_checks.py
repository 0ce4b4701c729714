"""Which backends a node checks, and how, as Services and pods say."""

from typing import Any

import pytest

from cairn.compile.health_checks import Wanted, choose_check, compile_checks, probes_of
from cairn.desired.load_balancer import Backend, Frontend, Kind, LbState
from cairn.health.check import Check, HttpRequest
from cairn.kube.pod_probe import PodProbes
from cairn.kube.service import Service
from cairn.net import L4Address, Protocol, parse_address

POD = {
    "metadata": {"namespace": "default", "name": "web-1"},
    "spec": {
        "containers": [
            {
                "ports": [{"name": "http", "containerPort": 8080}],
                "readinessProbe": {
                    "httpGet": {
                        "path": "/ready?full=1",
                        "port": "http",
                        "scheme": "HTTPS",
                        "host": "web.example",
                        "httpHeaders": [{"name": "X-Who", "value": "probe"}],
                    }
                },
            },
            {"readinessProbe": {"httpGet": {"port": 9000}}},
            {"readinessProbe": {"tcpSocket": {"port": 9001}}},
            {"readinessProbe": {"httpGet": {"path": "/", "port": "nowhere"}}},
        ]
    },
    "status": {"podIPs": [{"ip": "10.244.1.5"}, {"ip": "fd00::5"}]},
}
REQUEST = HttpRequest("/ready?full=1", "web.example", True, (("X-Who", "probe"),))
OFF = "off"


def at(text: str, port: int = 8080, protocol: Protocol = Protocol.TCP) -> L4Address:
    return L4Address(parse_address(text), protocol, port)


def service(annotation: str | None = None) -> Service:
    annotations = {} if annotation is None else {"cairn.io/health-check": annotation}
    return Service.from_object(
        {"metadata": {"namespace": "default", "name": "web", "annotations": annotations}}
    )


def state(*backends: Backend, kind: Kind = Kind.LOAD_BALANCER) -> LbState:
    return {at("192.168.1.100", 80): Frontend("default/web", kind, backends)}


HERE = Backend(at("10.244.1.5"), "node-1")
PROBES = probes_of([PodProbes.from_object(POD)])


def checks(entry: Service, frontends: LbState) -> dict[str, Any]:
    found, wrong = compile_checks(entry, frontends, "node-1", PROBES)
    assert not wrong
    return {str(where): wanted for where, wanted in found.items()}


@pytest.mark.parametrize(
    ("where", "request_"),
    [
        (at("10.244.1.5"), REQUEST),
        (at("fd00::5"), REQUEST),
        (at("10.244.1.5", 9000), HttpRequest("/")),
        (at("10.244.1.5", 9001), None),
        (at("10.244.1.6"), None),
    ],
)
def test_the_readiness_probe_of_the_same_port_is_the_check(
    where: L4Address, request_: HttpRequest | None
) -> None:
    expected = Check(request_, interval_s=0.5 if request_ is None else 1.0)
    assert checks(service(), state(Backend(where, "node-1"))) == {
        str(where): Wanted(expected, asked=False)
    }


@pytest.mark.parametrize(
    ("backend", "checked"),
    [
        (HERE, True),
        (Backend(HERE.address, "node-2"), False),
        (Backend(HERE.address, "node-1", draining=True), False),
        (Backend(HERE.address, "node-1", draining=True, ejected=True), True),
        (Backend(HERE.address, "node-1", ejected=True), True),
        (Backend(at("10.244.1.5", 53, Protocol.UDP), "node-1"), False),
        (Backend(at("10.244.1.5", 53, Protocol.SCTP), "node-1"), False),
    ],
)
def test_the_nodes_own_tcp_backends_are_checked(backend: Backend, checked: bool) -> None:
    assert bool(checks(service(), state(backend))) == checked


@pytest.mark.parametrize(
    ("kind", "annotation", "checked"),
    [
        (Kind.LOAD_BALANCER, None, True),
        (Kind.NODE_PORT, None, True),
        (Kind.EXTERNAL_IP, None, True),
        (Kind.CLUSTER_IP, None, False),
        (Kind.CLUSTER_IP, "tcp", True),
    ],
)
def test_services_for_clients_outside_are_checked_others_if_asked(
    kind: Kind, annotation: str | None, checked: bool
) -> None:
    assert bool(checks(service(annotation), state(HERE, kind=kind))) == checked


def test_what_an_annotation_says_goes_before_the_probe() -> None:
    found = checks(service("http:/x interval=2s"), state(HERE))
    assert found == {str(HERE.address): Wanted(Check(HttpRequest("/x"), 2.0), asked=True)}
    assert checks(service(OFF), state(HERE)) == {str(HERE.address): Wanted(None, asked=True)}


def test_an_annotation_that_cannot_be_read_is_told_and_the_default_applies() -> None:
    found, wrong = compile_checks(service("htp:/x"), state(HERE), "node-1", {})
    assert found == {HERE.address: Wanted(Check(), asked=False)}
    assert wrong.startswith("annotation cairn.io/health-check: 'htp:/x' is no kind of check")


A, B = Check(HttpRequest("/a")), Check(HttpRequest("/b"))


@pytest.mark.parametrize(
    ("wishes", "check"),
    [
        ([], None),
        ([Wanted(A, asked=False), Wanted(B, asked=True)], B),
        ([Wanted(A, asked=False), Wanted(None, asked=True)], None),
        ([Wanted(None, asked=True), Wanted(B, asked=True), Wanted(A, asked=True)], B),
        ([Wanted(A, asked=False), Wanted(B, asked=False)], A),
    ],
)
def test_whose_word_counts_among_several_services(
    wishes: list[Wanted], check: Check | None
) -> None:
    assert choose_check(wishes) == check
