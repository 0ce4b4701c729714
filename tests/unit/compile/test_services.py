"""Services and EndpointSlices compile to the frontends that Kubernetes' rules ask for."""

from typing import Any

import pytest

from cairn.compile.services import compile_service, ready_nodes
from cairn.desired.load_balancer import LbState
from cairn.kube.endpoint_slice import EndpointSlice
from cairn.kube.service import Service
from cairn.net import L4Address, Protocol, parse_address


def service(**spec: Any) -> Service:
    status = spec.pop("status", {"loadBalancer": {"ingress": [{"ip": "192.168.1.100"}]}})
    return Service.from_object(
        {
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {
                "type": "LoadBalancer",
                "clusterIP": "10.96.0.7",
                "ports": [{"port": 80, "protocol": "TCP", "targetPort": 8080}],
            }
            | spec,
            "status": status,
        }
    )


def endpoint(address: str, node: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "nodeName": node, "conditions": conditions}


def slice_of(*endpoints: dict[str, Any], name: str = "", port: int = 8080) -> EndpointSlice:
    return EndpointSlice.from_object(
        {
            "metadata": {
                "namespace": "default",
                "name": f"web-{name or 'x'}",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "ports": [{"name": name, "port": port, "protocol": "TCP"}],
            "endpoints": list(endpoints),
        }
    )


def tcp(address: str, port: int) -> L4Address:
    return L4Address(parse_address(address), Protocol.TCP, port)


def spelled(state: LbState) -> dict[str, list[str]]:
    return {
        str(where): [
            f"{backend.address}@{backend.node}{' draining' if backend.draining else ''}"
            for backend in frontend.backends
        ]
        for where, frontend in state.items()
    }


A, B = "10.244.1.2", "10.244.2.2"
ON_A, ON_B = f"{A}:8080/TCP@node-1", f"{B}:8080/TCP@node-2"

CONDITIONS: list[tuple[str, list[dict[str, Any]], list[str]]] = [
    ("ready", [endpoint(A, "node-1", ready=True)], [ON_A]),
    ("no conditions mean ready (KEP-752)", [endpoint(A, "node-1")], [ON_A]),
    ("not ready", [endpoint(A, "node-1", ready=False)], []),
    (
        "ordered by address, whatever the order of the slice",
        [endpoint(B, "node-2", ready=True), endpoint(A, "node-1", ready=True)],
        [ON_A, ON_B],
    ),
    (
        "terminating drains while another is ready (KEP-1669)",
        [
            endpoint(A, "node-1", ready=False, serving=True, terminating=True),
            endpoint(B, "node-2", ready=True),
        ],
        [f"{ON_A} draining", ON_B],
    ),
    (
        "terminating serves while none is ready (KEP-1669)",
        [endpoint(A, "node-1", ready=False, serving=True, terminating=True)],
        [ON_A],
    ),
    (
        "terminating and no longer serving is gone",
        [endpoint(A, "node-1", ready=False, serving=False, terminating=True)],
        [],
    ),
    (
        "listed twice counts once, ready wins (KEP-752)",
        [endpoint(A, "node-1", ready=False), endpoint(A, "node-1", ready=True)],
        [ON_A],
    ),
    ("the other family is not for this address", [endpoint("fd00::2", "node-1")], []),
]


@pytest.mark.parametrize(
    ("endpoints", "expected"), [case[1:] for case in CONDITIONS], ids=[c[0] for c in CONDITIONS]
)
def test_conditions(endpoints: list[dict[str, Any]], expected: list[str]) -> None:
    state = spelled(compile_service(service(), [slice_of(*endpoints)]))
    assert state == {"10.96.0.7:80/TCP": expected, "192.168.1.100:80/TCP": expected}


def test_named_ports_meet_by_name() -> None:
    ports = [
        {"name": "http", "port": 80, "protocol": "TCP"},
        {"name": "admin", "port": 9000, "protocol": "TCP"},
    ]
    slices = [
        slice_of(endpoint(A, "node-1"), name="http", port=8080),
        slice_of(endpoint(A, "node-1"), name="admin", port=9090),
    ]
    state = compile_service(service(ports=ports, status={}), slices)
    assert spelled(state) == {
        "10.96.0.7:80/TCP": [ON_A],
        "10.96.0.7:9000/TCP": [f"{A}:9090/TCP@node-1"],
    }


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"type": "ClusterIP"}, {"10.96.0.7:80/TCP": False}),
        ({"clusterIP": "None", "type": "ClusterIP"}, {}),
        ({"type": "ExternalName"}, {}),
        ({}, {"10.96.0.7:80/TCP": False, "192.168.1.100:80/TCP": True}),
        ({"status": {}}, {"10.96.0.7:80/TCP": False}),
    ],
)
def test_addresses_by_type(spec: dict[str, Any], expected: dict[str, bool]) -> None:
    state = compile_service(service(**spec), [slice_of(endpoint(A, "node-1"))])
    assert {str(where): frontend.external for where, frontend in state.items()} == expected


def test_publish_not_ready_addresses() -> None:
    slices = [slice_of(endpoint(A, "node-1", ready=False))]
    state = compile_service(service(publishNotReadyAddresses=True), slices)
    assert spelled(state)["10.96.0.7:80/TCP"] == [ON_A]


def test_ready_nodes_are_those_of_active_backends() -> None:
    leaving = endpoint(A, "node-1", ready=False, serving=True, terminating=True)
    slices = [slice_of(leaving, endpoint(B, "node-2", ready=True))]
    assert ready_nodes(service(), slices) == {"node-2"}


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "224.0.0.9", "169.254.169.254", "0.0.0.0", "255.255.255.255"],
)
def test_nobody_is_sent_to_an_address_that_leads_to_no_backend(address: str) -> None:
    known = slice_of(endpoint(address, "node-1"), endpoint("10.244.1.2", "node-1"))
    assert spelled(compile_service(service(), [known]))["192.168.1.100:80/TCP"] == [
        "10.244.1.2:8080/TCP@node-1"
    ]


def test_a_duplicate_is_the_same_on_all_nodes_whichever_slice_came_first() -> None:
    one, two = (slice_of(endpoint("10.244.1.2", f"node-{n}"), name="") for n in (1, 2))
    there = spelled(compile_service(service(), [one, two]))
    back = spelled(compile_service(service(), [two, one]))
    assert there == back
    assert len(there["192.168.1.100:80/TCP"]) == 1


def test_a_slice_without_ports_serves_none() -> None:
    bare = EndpointSlice.from_object(
        {
            "metadata": {"labels": {"kubernetes.io/service-name": "web"}},
            "ports": None,
            "endpoints": [endpoint("10.244.1.2", "node-1")],
        }
    )
    assert set(map(len, spelled(compile_service(service(), [bare])).values())) == {0}


def test_an_endpoint_of_unknown_readiness_is_ready() -> None:
    unknown = {"addresses": ["10.244.1.2"], "conditions": {"ready": None}}
    assert len(spelled(compile_service(service(), [slice_of(unknown)]))["10.96.0.7:80/TCP"]) == 1
