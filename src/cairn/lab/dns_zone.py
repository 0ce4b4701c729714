"""The names of a cluster: Services, their ports, their endpoints, and pods by address.

    Services, EndpointSlices  ->  Zone  ->  answer(question)

Shapes      records: name in lower case -> owner -> type -> data
Invariants  A name that has something below it exists, though it has no record: NODATA, not
            NXDOMAIN (RFC 8020).
Standards   Kubernetes DNS-based service discovery 1.1.0; RFC 2308 (negative answers)
Not here    Sockets, other people's names (dns.py).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from cairn.dns import Class, Name, Question, Rcode, Record, Soa, Srv, Type, parse_name
from cairn.dns.name import fold
from cairn.dns.record import Data
from cairn.kube.metadata import Key, Object
from cairn.net import Address, parse_address

TTL_S = 5
MOST_ALIASES = 8

Records = dict[Name, dict[int, list[Data]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a zone says to a question."""

    rcode: Rcode
    """NOERROR with records or without (NODATA), or NXDOMAIN."""
    records: tuple[Record, ...]
    """Answer section."""
    alias: Name | None = None
    """A name outside the zone, which the answer ends in and the asker wants too."""


class Zone:
    """All names under one domain, and the reverse names of its addresses."""

    def __init__(self, domain: str = "cluster.local") -> None:
        self.origin = parse_name(domain)
        """The domain."""
        self.serial = 1
        """Goes up with every change."""
        self._services: dict[Key, Object] = {}
        self._slices: dict[Key, dict[str, Object]] = defaultdict(dict)
        self._names: dict[Name, dict[Key, dict[int, list[Data]]]] = {}
        self._below: Counter[Name] = Counter()
        self._made: dict[Key, Records] = {}

    def put_service(self, key: Key, service: Object | None) -> None:
        """Take a Service as it is now; None: it is gone."""
        if service is None:
            self._services.pop(key, None)
        else:
            self._services[key] = service
        self._renew(key)

    def put_slice(self, service: Key, name: str, item: Object | None) -> None:
        """Take one EndpointSlice of a Service as it is now; None: it is gone."""
        if item is None:
            self._slices[service].pop(name, None)
        else:
            self._slices[service][name] = item
        self._renew(service)

    def holds(self, name: Name) -> bool:
        """Return whether the zone answers for a name: its own, or a reverse name that it has."""
        folded = fold(name)
        return self._inside(folded) or folded in self._names

    def answer(self, question: Question) -> Answer:
        """Return the answer to a question about a name that the zone holds."""
        name, spelled = fold(question.name), question.name
        records: list[Record] = []
        for _ in range(MOST_ALIASES):
            found = self._look_up(name)
            if found is None:
                return Answer(Rcode.NOERROR if records else Rcode.NXDOMAIN, tuple(records))
            alias = found.get(Type.CNAME)
            if not alias or question.type in (Type.CNAME, Type.ANY):
                wanted = found if question.type == Type.ANY else {question.type: []}
                for number in wanted:
                    records += [
                        Record(spelled, number, Class.IN, TTL_S, data)
                        for data in found.get(number, ())
                    ]
                return Answer(Rcode.NOERROR, tuple(records))
            records.append(Record(spelled, Type.CNAME, Class.IN, TTL_S, alias[0]))
            spelled = alias[0] if isinstance(alias[0], tuple) else ()
            name = fold(spelled)
            if not self._inside(name):
                return Answer(Rcode.NOERROR, tuple(records), spelled)
        return Answer(Rcode.SERVFAIL, tuple(records))

    def soa(self) -> Record:
        """Return the SOA record that negative answers carry."""
        primary = (b"ns", b"dns", *self.origin)
        data = Soa(primary, (b"hostmaster", *self.origin), self.serial, 7200, 1800, 86400, TTL_S)
        return Record(self.origin, Type.SOA, Class.IN, TTL_S, data)

    def _inside(self, name: Name) -> bool:
        return name[-len(self.origin) :] == self.origin

    def _look_up(self, name: Name) -> dict[int, list[Data]] | None:
        if owners := self._names.get(name):
            merged: dict[int, list[Data]] = {}
            for records in owners.values():
                for number, data in records.items():
                    merged.setdefault(number, []).extend(data)
            return merged
        if name == self.origin:
            return {Type.SOA: [self.soa().data]}
        if self._below[name]:
            return {}
        return self._pod(name[: -len(self.origin)])

    def _pod(self, labels: Name) -> dict[int, list[Data]] | None:
        """Return the record of a-b-c-d.NAMESPACE.pod, which says only what it spells.

        An IPv6 address is spelled likewise, with - for its colons.
        """
        if len(labels) != 3 or labels[2] != b"pod":
            return None
        text = labels[0].decode("latin-1")
        try:
            if text.count("-") == 3 and "--" not in text and ":" not in text:
                return {Type.A: [parse_address(text.replace("-", "."))]}
            return {Type.AAAA: [parse_address(text.replace("-", ":"))]}
        except ValueError:
            return None

    def _renew(self, key: Key) -> None:
        """Replace the records of one Service."""
        self.serial += 1
        for name in self._made.pop(key, {}):
            del self._names[name][key]
            if not self._names[name]:
                del self._names[name]
            self._count_below(name, -1)
        service = self._services.get(key)
        if service is None:
            return
        made = service_records(self.origin, service, self._slices[key].values())
        for name, records in made.items():
            self._names.setdefault(name, {})[key] = records
            self._count_below(name, 1)
        self._made[key] = made

    def _count_below(self, name: Name, change: int) -> None:
        for place in range(1, len(name) - len(self.origin) + 1):
            self._below[name[place:]] += change


def service_records(origin: Name, service: Object, slices: Iterable[Object]) -> Records:
    """Return the records of one Service: its own name, its ports, its endpoints, in reverse too."""
    metadata, spec = service["metadata"], service["spec"]
    base = (metadata["name"].encode(), metadata["namespace"].encode(), b"svc", *origin)
    made: Records = defaultdict(lambda: defaultdict(list))
    if spec.get("type") == "ExternalName":
        made[base][Type.CNAME].append(parse_name(spec.get("externalName") or ""))
        return made
    texts = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    addresses = [parse_address(text) for text in texts if text not in ("", "None")]
    for address in addresses:
        _add_address(made, base, address)
        made[reverse_name(address)][Type.PTR].append(base)
    if addresses:
        for port in spec.get("ports") or ():
            _add_port(made, base, port.get("name"), port.get("protocol"), int(port["port"]), base)
    else:
        _add_endpoints(made, base, slices)
    return made


def reverse_name(address: Address) -> Name:
    """Return the name under in-addr.arpa or ip6.arpa."""
    return parse_name(address.reverse_pointer)


def _add_endpoints(made: Records, base: Name, slices: Iterable[Object]) -> None:
    for item in slices:
        if item.get("addressType") == "FQDN":
            continue  # names, which have addresses elsewhere
        for endpoint in item.get("endpoints") or ():
            if (endpoint.get("conditions") or {}).get("ready") is False:
                continue
            for text in endpoint.get("addresses") or ():
                address = parse_address(text)
                word = endpoint.get("hostname") or text.replace(".", "-").replace(":", "-")
                host = (word.encode(), *base)
                _add_address(made, base, address)
                _add_address(made, host, address)
                made[reverse_name(address)][Type.PTR].append(host)
                for port in item.get("ports") or ():
                    name, protocol = port.get("name"), port.get("protocol")
                    _add_port(made, base, name, protocol, int(port.get("port") or 0), host)


def _add_address(made: Records, name: Name, address: Address) -> None:
    found = made[fold(name)][Type.A if address.version == 4 else Type.AAAA]
    if address not in found:
        found.append(address)


def _add_port(
    made: Records, base: Name, name: str | None, protocol: str | None, port: int, target: Name
) -> None:
    if name:
        label = (b"_" + name.encode(), b"_" + (protocol or "TCP").lower().encode(), *base)
        record = Srv(0, 100, port, target)
        # An endpoint with a host name of its own stands in the slices of both families.
        if record not in made[label][Type.SRV]:
            made[label][Type.SRV].append(record)
