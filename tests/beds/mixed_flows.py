"""Flows of every kind, with ends, requests and nodes of every kind."""

import numpy as np

from cairn.abi.verdicts import Verdict
from cairn.flow.address import Records, write_octets
from cairn.flow.columns import (
    FLOW,
    Detail,
    Dictionaries,
    DnsDetail,
    End,
    FlowKind,
    HttpDetail,
    interface_key,
)
from cairn.net import parse_address

HEADER = ("traceparent", f"00-{'a' * 32}-{'b' * 16}-01")
ENDS = {
    1: End("shop", "web-1", ("k8s:app=web", "k8s:tier=front"), "Deployment", "web"),
    2: End("shop", "db-1", ("k8s:app=db",), "StatefulSet", "db"),
    3: End("default", "web-9", ("k8s:app=web",), "Deployment", "web"),
    4: End("shop", service="web"),
    5: End(labels=("reserved:world",), names=("www.example.org",)),
    6: End(labels=("reserved:host",), node="node-1"),
}
DETAILS: dict[int, Detail] = {
    1: HttpDetail("GET", "http://web/a%20b?x=1", "HTTP/1.1", 200, 5, (HEADER,)),
    2: HttpDetail("POST", "http://web/login", "HTTP/2", 503, 9),
    3: DnsDetail("www.example.org.", ("A",), 0, ("10.0.0.1",)),
}
DICTIONARIES = Dictionaries(
    ends=ENDS,
    details=DETAILS,
    nodes={1: "node-1", 2: "node-2"},
    node_labels={1: ("k8s:zone=a",)},
    interfaces={interface_key(1, 3): "eth0", interface_key(2, 3): "lxc1"},
)
ADDRESSES = ("10.0.0.1", "10.0.1.1", "192.168.1.100", "fd00::1", "::a00:1", "0.0.0.0")


def random_flows(count: int = 4000) -> Records:
    rng = np.random.default_rng(7)
    records: Records = np.zeros(count, FLOW)
    octets = np.array([write_octets(parse_address(text)) for text in ADDRESSES], "V16")
    records["time_ns"] = np.arange(count)
    for side in ("source", "destination"):
        records[side] = octets[rng.integers(0, len(octets), count)]
        records[f"{side}_end"] = rng.integers(0, 8, count)
        records[f"{side}_identity"] = rng.integers(0, 5, count)
        records[f"{side}_port"] = rng.choice([53, 80, 443], count)
    records["kind"] = rng.choice([k for k in FlowKind if k != FlowKind.LOST], count)
    records["verdict"] = rng.integers(1, 8, count)
    records["reason"] = rng.choice(list(Verdict), count)
    records["protocol"] = rng.choice([1, 6, 17, 58, 132], count)
    records["flags"] = rng.integers(0, 64, count)
    records["tcp_flags"] = rng.integers(0, 256, count)
    records["node"] = rng.integers(0, 3, count)
    records["ifindex"] = rng.integers(0, 5, count)
    records["decision"] = rng.integers(0, 2, count)
    records["point"] = rng.integers(0, 6, count)
    records["detail"][records["kind"] == FlowKind.HTTP] = 1
    records["detail"][(records["kind"] == FlowKind.HTTP) & (records["node"] == 1)] = 2
    records["detail"][records["kind"] == FlowKind.DNS] = 3
    return records
