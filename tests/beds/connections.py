"""Entries of `conntrack` for tests: both sides of a connection, in any state and of any age."""

from dataclasses import dataclass, replace

from cairn.abi.structs import Backend, Connection, Direction, Service, ServiceKey, State, Tuple
from cairn.libbpf import Map
from cairn.net import Address, Protocol, parse_address

SERVICE, BACKEND = 1, 1
VIP, POD = parse_address("192.0.2.100"), parse_address("10.244.1.5")
CLIENT = parse_address("203.0.113.7")
NS_PER_S = 1_000_000_000
NOW_NS = 1_000_000 * NS_PER_S


@dataclass(frozen=True)
class Flow:
    """One connection."""

    port: int
    """The client's."""
    protocol: Protocol = Protocol.TCP
    client: Address = CLIENT
    forward: State | None = State.ESTABLISHED
    """Of the client's side; None: no entry."""
    reverse: State | None = State.ESTABLISHED
    """Of the backend's side; None: handed over."""
    silent_s: float = 0
    """How long the client's side has been silent."""
    reverse_silent_s: float | None = None
    """Likewise the backend's; None: as long."""
    service: int = SERVICE
    backend: int = BACKEND
    now_ns: int = NOW_NS
    age_s: float = 100_000

    def entries(self) -> dict[bytes, bytes]:
        """Return its entries, key and value."""
        found = {}
        there = (self.client, VIP, self.port, 80)
        back = (POD, self.client, 8080, self.port)
        for way, state, key, to, silent_s in (
            (Direction.FORWARD, self.forward, there, (POD, 8080), self.silent_s),
            (Direction.REVERSE, self.reverse, back, (VIP, 80), self.reverse_silent_s),
        ):
            if state is not None:
                silent_ns = int((self.silent_s if silent_s is None else silent_s) * NS_PER_S)
                value = Connection(
                    *to, state, 0, self.backend, self.service,
                    int(self.now_ns - self.age_s * NS_PER_S), self.now_ns - silent_ns, 3, 300,
                )  # fmt: skip
                found[Tuple(*key, self.protocol, way).write()] = value.write()
        return found

    def at(self, now_ns: int) -> "Flow":
        """Return the same, seen from another present."""
        return replace(self, now_ns=now_ns)


def write_service(maps: dict[str, Map]) -> None:
    """Write the one service and backend that flows belong to."""
    value = Service(SERVICE, 0, 1, 1, 1, 0, 0)
    maps["services"].update(ServiceKey(VIP, 80, Protocol.TCP).write(), value.write())
    maps["backends"].update(BACKEND.to_bytes(4, "little"), Backend(POD, 8080, 1, 0).write())
