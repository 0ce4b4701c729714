"""Requests through the node's real Envoy: judged, and otherwise left as they are."""

import sys
from collections.abc import Iterator

import pytest
from datapath_bed import wait_for
from proxy_bed import (
    EGRESS,
    INGRESS,
    WORLD,
    A,
    AgentSide,
    B,
    ProxyBed,
    accepts,
    answer_of,
    proxy_bed,
    tproxy,
)

from cairn.desired.policy import Redirect
from cairn.kube.policy.rule import Direction, HttpRule

pytestmark = pytest.mark.root

PUBLIC = Redirect(http=(HttpRule(method="GET|HEAD", path="/(json|public/.*)"),))
REACHED = Redirect(http=(HttpRule(path="/json"),), direction=Direction.INGRESS)
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyBed]:
    with proxy_bed(tmp_path_factory.mktemp("p")) as made:
        for name in ("b", "world"):
            made.start(name, sys.executable, "-m", "cairn.lab.images.web", PORT="8080")
        made.start_proxy()
        made.steer(
            *tproxy('iifname "va" tcp dport 8080', EGRESS),
            *tproxy('iifname "eth1" tcp dport 8080', INGRESS),
        )
        for name, address in (("a", B[0]), ("node", WORLD[0])):
            wait_for(lambda n=name, d=address: accepts(made.ns(n), d, 8080), "the servers")
        yield made


@pytest.fixture(scope="module")
def agent(bed: ProxyBed) -> Iterator[AgentSide]:
    side = AgentSide(bed.directory, bed.node)
    side.serve({EGRESS: PUBLIC, INGRESS: REACHED})
    assert side.told == []
    yield side
    side.stop()


def url(addresses: tuple[str, str], family: int, path: str) -> str:
    host = f"[{addresses[1]}]" if family else addresses[0]
    return f"http://{host}:8080{path}"


@FAMILIES
def test_an_allowed_request_comes_from_the_pod_itself(
    bed: ProxyBed, agent: AgentSide, family: int
) -> None:
    status, said = answer_of(bed.curl("a", url(B, family, "/json")))
    assert status == 200, said
    assert said["client"] == A[family]
