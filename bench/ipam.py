"""LB-IPAM at 10,000 Services: the pure part, from raw objects and from views.

python bench/ipam.py [SERVICES]  ->  seconds per step
"""

import sys
from time import perf_counter

from row import Row, at_most, number

from cairn.compile.ipam import compile_ipam
from cairn.kube.load_balancer import load_balancer_of
from cairn.kube.pool import pool_of

SERVICES = 10_000
AIM_S = 5.0


def run(count: int = SERVICES) -> list[Row]:
    """Address `count` Services from nothing, then once more as after a restart, then one new."""
    spec = {"blocks": [{"cidr": "10.0.0.0/16"}], "serviceSelector": {"matchLabels": {"a": "b"}}}
    pools = [pool_of({"metadata": {"name": "pool"}, "spec": spec})]
    raw = [
        {
            "metadata": {"name": f"s{i}", "namespace": "n", "labels": {"a": "b"}},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
        }
        for i in range(count + 1)
    ]
    start = perf_counter()
    views = [load_balancer_of(obj) for obj in raw[:count]]
    result = compile_ipam(pools, views)
    done = perf_counter()
    assert all(verdict.satisfied for verdict in result.services.values())
    for obj, verdict in zip(raw, result.services.values(), strict=False):
        obj["status"] = {"loadBalancer": {"ingress": [{"ip": ip} for ip in verdict.addresses]}}
    views = [load_balancer_of(obj) for obj in raw]
    again = perf_counter()
    compile_ipam(pools, views)
    end = perf_counter()
    return [
        at_most(
            f"LB-IPAM, {count:,} Services from nothing", done - start, "s", AIM_S,
            "read the objects and choose every address (no API in this figure)",
        ),
        Row(
            f"LB-IPAM, one more beside {count:,}", end - again, "s",
            "choose the address of one new Service, all others checked again",
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    for row in run(int(sys.argv[1]) if len(sys.argv) > 1 else SERVICES):
        print(f"{row.figure:<44} {number(row.value)} {row.unit}")
