"""Many flows through a node's real programs and tables: whom does each get?

    names of backends, each on a node of its own  ->  [flows] number of the node chosen

Every backend lives on another node, so a packet's new destination Ethernet address tells whom the
node chose; nothing of it is computed here.
"""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address

import packets
import trial

from cairn.abi.structs import Node
from cairn.apply.load_balancer import LoadBalancer
from cairn.desired.load_balancer import Backend, Frontend, Kind
from cairn.net import L4Address, Protocol

PORT = 90
FLOWS = 10_000
WHERE = L4Address(ip_address(trial.VIP), Protocol.TCP, PORT)
NODES = 200
"""How many nodes, each with one possible backend, this one knows."""
FIRST_INDEX = 10


@dataclass(slots=True)
class Index:
    """Index of every other node by name."""

    index: dict[str, int] = field(
        default_factory=lambda: {f"node-{n}": FIRST_INDEX + n for n in range(NODES)}
    )


class FlowNode:
    """A node that holds no backend: it hands over every packet."""

    def __init__(self, maps: trial.Trial) -> None:
        self._trial = maps
        self._balancer = LoadBalancer(maps.maps, "elsewhere", Index())
        for number in range(NODES):
            value = Node(ip_address("192.168.1.11"), mac(number), 0)
            maps.maps["nodes"].update((FIRST_INDEX + number).to_bytes(4, "little"), value.write())

    def serve(self, numbers: Iterable[int]) -> None:
        """Make the service have exactly these backends."""
        backends = tuple(backend(number) for number in numbers)
        failed = self._balancer.apply(
            {WHERE: Frontend("default/web", Kind.LOAD_BALANCER, backends)}
        )
        assert failed == []

    def chosen(self, flags: int) -> list[int]:
        """Send a packet of each flow; return whose backend each got."""
        program = self._trial.objects["uplink_ingress"].programs["uplink_ingress"]
        numbers = {mac(number): number for number in range(NODES)}
        found = []
        for flow in range(FLOWS):
            run = program.run_packet(frame(flow, flags), ifindex=trial.LOOPBACK)
            found.append(numbers[run.packet[:6]])
        return found

    def forget(self) -> None:
        """Forget every connection, as a node that has just come up."""
        table = self._trial.maps["conntrack"]
        table.delete_batch(b"".join(dict(table.items())))


@contextlib.contextmanager
def nodes(count: int) -> Iterator[list[FlowNode]]:
    """Yield nodes that each have maps and a history of their own."""
    with contextlib.ExitStack() as stack:
        yield [FlowNode(stack.enter_context(trial.loaded())) for _ in range(count)]


def moved(before: Collection[int], after: Collection[int], *, without: int | None = None) -> float:
    """Return which share of the flows changed its backend; those of `without` do not count."""
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a != without]
    return sum(a != b for a, b in pairs) / len(pairs)


def backend(number: int) -> Backend:
    """Return the one backend of a node."""
    address = ip_address(f"10.244.{number}.5")
    return Backend(L4Address(address, Protocol.TCP, 8080), f"node-{number}")


def mac(number: int) -> bytes:
    """Return the Ethernet address of a node."""
    return bytes((2, 0, 0, 1, 0, number))


def frame(flow: int, flags: int) -> bytes:
    """Return a segment of one of many clients' connections."""
    client, port = f"203.0.{113 + flow // 250 % 8}.{1 + flow % 250}", 1024 + flow * 7 % 60_000
    segment = packets.tcp((client, port), (trial.VIP, PORT), flags)
    packet = packets.ip4(segment, source=client, destination=trial.VIP, protocol=packets.TCP)
    return packets.ethernet(packet, source=trial.ROUTER, destination=trial.UPLINK)
