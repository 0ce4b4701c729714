"""The fields of a flow filter, and how each is compiled.

    field's name, alternatives  ->  Term

Terms are tried in the order of FIELDS: those that cost little come first.

Not here    what a field means to its user (filter.FlowFilter)
"""

from collections.abc import Mapping
from typing import Any

from cairn.flow import filter_columns as by_column
from cairn.flow import filter_details as by_detail
from cairn.flow import filter_ends as by_end
from cairn.flow.bad_filter import BadFilter
from cairn.flow.columns import Dictionaries
from cairn.flow.event_type import EventType
from cairn.flow.filter_term import Compile, Term

_NEEDS_L7 = ("http_status_code", "http_method", "http_path", "http_url", "http_header")


def terms_of(asked: Mapping[str, Any], dictionaries: Dictionaries, cluster: str) -> list[Term]:
    """Return the terms of the fields that are asked for, cheap ones first; raises BadFilter."""
    types = asked.get("event_type")
    for name in _NEEDS_L7:
        if name in asked and types and all(one.type != EventType.L7 for one in types):
            raise BadFilter(f"{name} needs event_type to be l7 ({EventType.L7:d})")
    if "cel_expression" in asked:
        raise BadFilter("experimental.cel_expression is not supported: use the other fields")
    return [build(asked[name], dictionaries, cluster) for name, build in FIELDS if name in asked]


FIELDS: tuple[tuple[str, Compile], ...] = (
    ("encrypted", by_column.constant(False)),
    ("ip_trace_id", by_column.constant(0)),
    ("source_ip_xlated", by_column.translated_source),
    ("verdict", by_column.one_of("verdict")),
    ("source_port", by_column.ports("source_port")),
    ("destination_port", by_column.ports("destination_port")),
    ("source_identity", by_column.one_of("source_identity")),
    ("destination_identity", by_column.one_of("destination_identity")),
    ("source_ip", by_column.addresses("source")),
    ("destination_ip", by_column.addresses("destination")),
    ("source_pod", by_end.of_end("source_end", by_end.pods)),
    ("destination_pod", by_end.of_end("destination_end", by_end.pods)),
    ("source_service", by_end.of_end("source_end", by_end.services)),
    ("destination_service", by_end.of_end("destination_end", by_end.services)),
    ("source_workload", by_end.of_end("source_end", by_end.workloads)),
    ("destination_workload", by_end.of_end("destination_end", by_end.workloads)),
    ("source_label", by_end.of_end("source_end", by_end.labels)),
    ("destination_label", by_end.of_end("destination_end", by_end.labels)),
    ("source_fqdn", by_end.of_end("source_end", by_end.fqdns)),
    ("destination_fqdn", by_end.of_end("destination_end", by_end.fqdns)),
    ("source_cluster_name", by_end.of_end("source_end", by_end.clusters)),
    ("destination_cluster_name", by_end.of_end("destination_end", by_end.clusters)),
    ("protocol", by_column.protocols),
    ("tcp_flags", by_column.tcp_flags),
    ("drop_reason_desc", by_column.drop_reasons),
    ("traffic_direction", by_column.traffic),
    ("reply", by_column.replies),
    ("ip_version", by_column.versions),
    ("node_name", by_end.of_node),
    ("node_labels", by_end.node_labels),
    ("event_type", by_column.types),
    ("http_status_code", by_detail.of_http(by_detail.statuses)),
    ("http_method", by_detail.of_http(by_detail.methods)),
    ("http_path", by_detail.of_http(by_detail.paths)),
    ("http_url", by_detail.of_http(by_detail.urls)),
    ("http_header", by_detail.of_http(by_detail.headers)),
    ("trace_id", by_detail.of_http(by_detail.trace_ids)),
    ("dns_query", by_detail.dns_queries),
    ("interface", by_column.interfaces),
    ("uuid", by_column.uuids),
)
