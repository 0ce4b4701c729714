"""Flows for tests of the history: made by number, so that any of them can be told again.

count, start  ->  FLOW records, Dictionaries
"""

import numpy as np

from cairn.flow.columns import (
    FLOW,
    Decision,
    Dictionaries,
    DnsDetail,
    End,
    FlowFlag,
    FlowKind,
    FlowVerdict,
    HttpDetail,
)

PODS = 30
NODES = 3
T0_NS = 1_800_000_000 * 10**9


def dictionaries() -> Dictionaries:
    """Return pods of three workloads, one address of the world, policies, a request, a lookup."""
    made = Dictionaries()
    for pod in range(1, PODS + 1):
        app = ("web", "database", "cache")[pod % 3]
        made.ends[pod] = End(
            namespace="production" if pod % 2 else "default",
            pod=f"{app}-{pod}",
            labels=("k8s:app=" + app,),
            workload_kind="Deployment",
            workload=app,
        )
    made.ends[PODS + 1] = End(labels=("reserved:world",), names=("example.org",))
    made.decisions[1] = Decision("CiliumNetworkPolicy", "production", "database-only")
    made.decisions[2] = Decision("NetworkPolicy", "default", "open", "ingress[0]")
    made.details[1] = HttpDetail("GET", "http://web/items", "HTTP/1.1", 200, 1_500_000)
    made.details[2] = DnsDetail("example.org.", ("A",), 3, latency_ns=2_000_000)
    made.nodes.update({n: f"node-{n}" for n in range(1, NODES + 1)})
    return made


def flows(
    count: int, *, start: int = 0, start_ns: int = T0_NS, step_ns: int = 1_000_000
) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    """Return flows number `start` and on; one in ten is dropped, one in ten a request or lookup."""
    number = np.arange(start, start + count)
    made = np.zeros(count, FLOW)
    made["time_ns"] = start_ns + number * step_ns
    source, target = number % PODS + 1, (number * 7) % PODS + 1
    made["source"], made["destination"] = _address(source), _address(target)
    made["source_end"], made["destination_end"] = source, target
    made["source_port"] = 30000 + number % 1000
    made["destination_port"] = np.where(number % 2, 5432, 80)
    made["protocol"] = 6
    made["node"] = number % NODES + 1
    made["flags"] = int(FlowFlag.TO_POD)
    kind = np.where(number % 2, int(FlowKind.CLOSED), int(FlowKind.NEW))
    kind[number % 10 == 3] = int(FlowKind.DROP)
    kind[number % 20 == 4] = int(FlowKind.HTTP)
    kind[number % 20 == 14] = int(FlowKind.DNS)
    made["kind"] = kind
    drop = kind == FlowKind.DROP
    made["verdict"] = np.where(drop, int(FlowVerdict.DROPPED), int(FlowVerdict.FORWARDED))
    made["reason"] = np.where(drop, 65, 0)
    made["decision"] = np.where(drop, 1, 2)
    made["detail"] = np.select([kind == FlowKind.HTTP, kind == FlowKind.DNS], [1, 2], 0)
    closed = kind == FlowKind.CLOSED
    made["packets"], made["octets"] = closed * 10, closed * 1000
    made["packets_back"], made["octets_back"] = closed * 9, closed * 500
    return made


def _address(
    host: "np.ndarray[tuple[int], np.dtype[np.int64]]",
) -> "np.ndarray[tuple[int], np.dtype[np.void]]":
    octets = np.zeros((len(host), 16), np.uint8)
    octets[:, 10:12] = 255
    octets[:, 12:15] = (10, 244, 1)
    octets[:, 15] = host
    return octets.reshape(-1).view("V16")
