"""Policies about nodes with their guard, and limits on new connections, in the running scenario."""

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from lab_run import NODES, VIP, LabRun, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.root, pytest.mark.timeout(180)]

ASK = f"curl -s -o /dev/null -m 1 -w '%{{http_code}} ' http://{VIP}"
ALL_AT_ONCE = f"for i in {{1..40}}; do {ASK} & done; wait"
PER_S = 4


@contextmanager
def applied(lab: LabRun, kind: str, name: str, spec: dict[str, Any]) -> Iterator[None]:
    """Have a policy while the block runs."""
    obj = {
        "apiVersion": "cilium.io/v2",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }
    lab.apply(json.dumps(obj))
    try:
        yield
    finally:
        lab.kubectl("delete", kind.lower(), name)


def pings(lab: LabRun, address: str, host: str = "client-2") -> bool:
    return "1 received" in lab.on(host, "ping", "-c", "1", "-W", "1", address, check=False)


def test_a_locked_node_is_still_run_by_the_cluster_and_reached_by_its_router(lab: LabRun) -> None:
    closed = {
        "nodeSelector": {},
        "ingress": [{"fromEntities": ["health"]}],
        "egress": [{"toEntities": ["health"]}],
    }
    assert pings(lab, NODES[0])
    with applied(lab, "CiliumClusterwideNetworkPolicy", "locked", closed):
        wait_for("the node to be closed", lambda: not pings(lab, NODES[0]))
        assert lab.kubectl("logs", "-n", "kube-system", "ds/cairn", "-c", "agent", "--tail=1")
        assert len(lab.next_hops()) == 3
        assert lab.web()["namespace"] == "default"
        neighbors = lab.on("router", "bgpctl", "show", "neighbor").splitlines()
        assert sum(any(node in line for node in NODES) for line in neighbors) == len(NODES)
        ready = lab.kubectl("get", "nodes", "--no-headers")
        assert ready.count(" Ready ") == len(NODES)
    wait_for("the node to be open", lambda: pings(lab, NODES[0]))


def test_a_source_opens_no_more_than_a_policy_allows(lab: LabRun) -> None:
    def codes(host: str = "client-1") -> Counter[str]:
        return Counter(lab.on(host, "bash", "-c", ALL_AT_ONCE).split())

    limit = {"port": "8080", "protocol": "TCP", "rateLimit": {"requestsPerSecond": PER_S}}
    spec = {
        "endpointSelector": {"matchLabels": {"app": "web-app"}},
        "ingress": [{"fromEntities": ["all"], "toPorts": [{"ports": [limit]}]}],
    }
    assert codes() == {"200": 40}
    with applied(lab, "CiliumNetworkPolicy", "limited", spec):
        wait_for("the limit", lambda: codes()["000"] > 0)
        found = codes()
        # Each of the three nodes gives a source its second's worth, and more as time goes by.
        assert PER_S <= found["200"] <= 3 * PER_S * 3
        assert set(found) == {"000", "200"}
        drop = "opens connections faster than a policy allows"

        def told() -> bool:
            pods = lab.pods("k8s-app=cairn", "kube-system")
            names = [pod["metadata"]["name"] for pod in pods]
            logs = [
                lab.kubectl("logs", "-n", "kube-system", name, "-c", "agent", "--tail=50")
                for name in names
            ]
            return any(drop in log and "CiliumNetworkPolicy/default/limited" in log for log in logs)

        wait_for("a word about it", told)
    wait_for("no limit any more", lambda: codes() == {"200": 40})
