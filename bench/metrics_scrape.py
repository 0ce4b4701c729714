"""What fetching a page of metrics costs an agent in a cluster of many Services.

    MANY announced Services  ->  milliseconds, octets of the agent's own families

The maps' families are read from the kernel as well and do not grow with Services but for backends,
of which the page tells at most a fixed number.
"""

import statistics
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from row import Row, at_most

from cairn.agent.bgp_status import BgpStatus
from cairn.agent.node_metrics import address_families, told
from cairn.compile.announcements import Announced, served_addresses
from cairn.kube.service import Service

MANY = 5000
ROUNDS = 9
AIM_MS = 50.0


class Page(Collector):
    """The families that grow with Services."""

    def __init__(self) -> None:
        services = [_service(number) for number in range(MANY)]
        self._services = {service.key: Announced(service, {4: 1}) for service in services}
        self._status = BgpStatus()
        peer = {"address": "192.168.1.1", "state": "Established", "prefixes_announced": MANY}
        routes = [{"prefix": f"{s.load_balancer_ips[0]}/32"} for s in services]
        self._status.take({"peers": [peer], "routes": routes})

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        served = served_addresses(self._services, self._status.announced)
        return map(told, address_families(served))


def run() -> list[Row]:
    """Fetch the page some times."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Page())
    took = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        generate_latest(registry)
        took.append((time.thread_time() - start) * 1000)
    return [
        at_most(
            f"Scrape of an agent that announces {MANY} Services, CPU time",
            statistics.median(took), "ms", AIM_MS,
            "each fetch of the metrics costs the node this",
        )
    ]  # fmt: skip


def _service(number: int) -> Service:
    address = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
    return Service.from_object(
        {
            "metadata": {"namespace": "default", "name": f"service-{number}"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]},
            "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
        }
    )
