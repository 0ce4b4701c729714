"""Filters over flows as messages: for those of a file, which no server filters.

    Chosen  ->  matches(flow.Flow), or BadFilter

Every alternative means what it means to a server (flow.filter_*), so a saved file is asked by the
same flags as the live flows.

Standards   Cilium api/v1/flow/flow.proto, message FlowFilter
Not here    the same over columns, by the million (flow.filter)
"""

from collections.abc import Callable, Sequence
from typing import Any

from cairn.flow import filter_details as detail
from cairn.flow import filter_ends as ends
from cairn.flow.bad_filter import BadFilter
from cairn.flow.columns import End, HttpDetail
from cairn.flow.regex import any_node, any_search
from cairn.hubble.client_filter import Chosen
from cairn.hubble.client_values import TCP_FLAGS
from cairn.hubble.present_ends import ports
from cairn.net import Address, parse_address, parse_network

Test = Callable[[Any], bool]
DROPPED = 2
LAYER4 = {"icmp": ("ICMPv4", "ICMPv6"), "icmpv4": ("ICMPv4",), "icmpv6": ("ICMPv6",)}
PLAIN = ("TCP", "UDP", "SCTP", "VRRP", "IGMP")
LAYER7 = ("http", "dns", "kafka", "tls")
CLUSTER = "default"


def matcher(chosen: Chosen) -> Test:
    """Return the test of a flow; raises BadFilter."""
    allow = [_all(one) for one in chosen.allow]
    deny = [_all(one) for one in chosen.deny]

    def matches(flow: Any) -> bool:
        wanted = not allow or any(test(flow) for test in allow)
        return wanted and not any(test(flow) for test in deny)

    return matches


def _all(one: Any) -> Test:
    tests = [_field(field.name, values) for field, values in one.ListFields()]
    return lambda flow: all(test(flow) for test in tests)


def _field(name: str, values: Any) -> Test:
    for side in ("source", "destination"):
        base = name.removeprefix(f"{side}_")
        if base != name and base in SIDED:
            return SIDED[base](list(values), side)
    if name not in FIELDS:
        raise BadFilter(f"{name} is not supported here: use the other fields")
    return FIELDS[name](list(values))


def _end_of(flow: Any, side: str) -> End:
    end = getattr(flow, side)
    workload = end.workloads[0] if end.workloads else None
    return End(
        namespace=end.namespace,
        pod=end.pod_name,
        labels=tuple(end.labels),
        workload_kind=workload.kind if workload else "",
        workload=workload.name if workload else "",
        names=tuple(getattr(flow, f"{side}_names")),
    )


def _of_end(prepare: Callable[[Any, str], Callable[[End], bool]]) -> Any:
    def build(values: Sequence[Any], side: str) -> Test:
        test = prepare(values, CLUSTER)
        return lambda flow: test(_end_of(flow, side))

    return build


def _services(values: Sequence[str], side: str) -> Test:
    test = ends.services(values, CLUSTER)

    def holds(flow: Any) -> bool:
        service = getattr(flow, f"{side}_service")
        return test(End(namespace=service.namespace, service=service.name))

    return holds


def _workloads(values: Sequence[Any], side: str) -> Test:
    return _of_end(ends.workloads)([(one.name, one.kind) for one in values], side)  # type: ignore[no-any-return]


def _clusters(values: Sequence[str], side: str) -> Test:
    return lambda flow: getattr(flow, side).cluster_name in values


def _identities(values: Sequence[int], side: str) -> Test:
    return lambda flow: getattr(flow, side).identity in values


def _ports(values: Sequence[str], side: str) -> Test:
    wanted = {int(value) for value in values}
    at = ("source", "destination").index(side)
    return lambda flow: bool(flow.l4.WhichOneof("protocol")) and ports(flow)[at] in wanted


def _addresses(values: Sequence[str], side: str) -> Test:
    return _address_test(values, lambda flow: str(getattr(flow.IP, side)))


def _address_test(values: Sequence[str], read: Callable[[Any], str]) -> Test:
    try:
        networks = [parse_network(value, strict=False) for value in values]
    except ValueError as error:
        raise BadFilter(f"no address and no network: {error}") from None

    def holds(flow: Any) -> bool:
        address = _address(read(flow))
        return address is not None and any(address in network for network in networks)

    return holds


def _address(text: str) -> Address | None:
    try:
        return parse_address(text)
    except ValueError:
        return None


SIDED: dict[str, Callable[[Any, str], Test]] = {
    "ip": _addresses,
    "pod": _of_end(ends.pods),
    "fqdn": _of_end(ends.fqdns),
    "label": _of_end(ends.labels),
    "service": _services,
    "workload": _workloads,
    "cluster_name": _clusters,
    "identity": _identities,
    "port": _ports,
}
"""Fields of one end."""


def _http(prepare: Callable[[Any], Callable[[HttpDetail], bool]]) -> Callable[[Any], Test]:
    def build(values: Sequence[Any]) -> Test:
        test = prepare(values)

        def holds(flow: Any) -> bool:
            http = flow.l7.http
            return flow.l7.HasField("http") and test(
                HttpDetail(http.method, http.url, http.protocol, http.code, 0,
                           tuple((one.key, one.value) for one in http.headers))
            )  # fmt: skip

        return holds

    return build


def _headers(values: Sequence[Any]) -> Test:
    return _http(detail.headers)([(one.key, one.value) for one in values])


def _event_types(values: Sequence[Any]) -> Test:
    def holds(flow: Any) -> bool:
        type_, sub = flow.event_type.type, flow.event_type.sub_type
        return any(
            one.type in (0, type_) and (not one.match_sub_type or one.sub_type == sub)
            for one in values
        )

    return holds


def _protocols(values: Sequence[str]) -> Test:
    layer4: set[str | None] = set()
    layer7: set[str] = set()
    for value in values:
        word = value.lower()
        if word in LAYER7:
            layer7.add(word)
        elif word in LAYER4 or word.upper() in PLAIN:
            layer4.update(LAYER4.get(word, (word.upper(),)))
        else:
            known = ", ".join((*LAYER4, *(name.lower() for name in PLAIN), *LAYER7))
            raise BadFilter(f"protocol {value!r} is none of {known}")

    def holds(flow: Any) -> bool:
        if flow.l4.WhichOneof("protocol") in layer4:
            return True
        return flow.HasField("l7") and (flow.l7.WhichOneof("record") or "tls") in layer7

    return holds


def _replies(values: Sequence[bool]) -> Test:
    def holds(flow: Any) -> bool:
        if flow.HasField("is_reply"):
            return flow.is_reply.value in values
        return flow.verdict == DROPPED and False in values

    return holds


def _tcp_flags(values: Sequence[Any]) -> Test:
    wanted = [[name for name in TCP_FLAGS if getattr(one, name)] for one in values]

    def holds(flow: Any) -> bool:
        if not flow.l4.HasField("TCP") or flow.HasField("l7"):
            return False
        found = flow.l4.TCP.flags
        return any(all(getattr(found, name) for name in names) for names in wanted)

    return holds


def _nodes(values: Sequence[str]) -> Test:
    holds = any_node(values)

    def test(flow: Any) -> bool:
        name = flow.node_name
        return bool(name) and holds(name if "/" in name else f"{CLUSTER}/{name}")

    return test


def _node_labels(values: Sequence[str]) -> Test:
    test = ends.labels(values, CLUSTER)
    return lambda flow: test(End(labels=tuple(flow.node_labels)))


def _interfaces(values: Sequence[Any]) -> Test:
    return lambda flow: (
        flow.HasField("interface")
        and any(
            one.index in (0, flow.interface.index) and one.name in ("", flow.interface.name)
            for one in values
        )
    )


def _dns(values: Sequence[str]) -> Test:
    holds = any_search(values)
    return lambda flow: flow.l7.HasField("dns") and holds(flow.l7.dns.query)


def _in(read: Callable[[Any], Any]) -> Callable[[Any], Test]:
    return lambda values: lambda flow: read(flow) in values


FIELDS: dict[str, Callable[[Any], Test]] = {
    "uuid": _in(lambda flow: flow.uuid),
    "source_ip_xlated": lambda values: _address_test(values, lambda flow: flow.IP.source_xlated),
    "traffic_direction": _in(lambda flow: flow.traffic_direction),
    "verdict": _in(lambda flow: flow.verdict),
    "drop_reason_desc": lambda values: (
        lambda flow: flow.verdict == DROPPED and flow.drop_reason_desc in values
    ),
    "interface": _interfaces,
    "event_type": _event_types,
    "http_status_code": _http(detail.statuses),
    "http_method": _http(detail.methods),
    "http_path": _http(detail.paths),
    "http_url": _http(detail.urls),
    "http_header": _headers,
    "protocol": _protocols,
    "reply": _replies,
    "dns_query": _dns,
    "tcp_flags": _tcp_flags,
    "node_name": _nodes,
    "node_labels": _node_labels,
    "ip_version": _in(lambda flow: flow.IP.ipVersion),
    "trace_id": _in(lambda flow: flow.trace_context.parent.trace_id),
    "ip_trace_id": _in(lambda flow: flow.ip_trace_id.trace_id),
    "encrypted": _in(lambda flow: flow.IP.encrypted),
}
"""Fields of the whole flow."""
