"""The flags of `observe` that choose flows: one row for each, whatever reads the command line.

    FLAGS  ->  options of the command line;  Word after Word  ->  client_filter.py

Standards   Names and meaning are those of upstream's `hubble observe`
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cairn.hubble import client_values as values

SIDES = {"": "either", "from": "source", "to": "destination"}
"""Beginning of a flag of one end, and what fields begin with."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A field of FlowFilter, or a pair of them."""

    name: str
    """Of the flag; of one with ends there are `from-` and `to-` too."""
    field: str
    """Of FlowFilter; of one with ends without `source_` and `destination_`."""
    read: Callable[[str], Any]
    """Reads one value; raises BadFlag."""
    shown: str
    """What stands for the value in the help."""
    help: str
    """What flows are chosen."""
    ends: bool = False
    """Whether there is a field for each end."""
    split: bool = True
    """Whether commas part alternatives."""
    short: str = ""
    """Letter of a short form."""
    constant: str = ""
    """Value of a flag that takes none, or need not have one."""


@dataclass(frozen=True, slots=True)
class Word:
    """A flag as it was given."""

    flag: Flag
    side: str
    """A key of SIDES."""
    value: str
    negated: bool = False
    """Whether `--not` stood before it."""

    @property
    def spelt(self) -> str:
        """The flag as a user writes it."""
        return f"--{self.side}-{self.flag.name}" if self.side else f"--{self.flag.name}"


_direction = values.of_enum("flow.TrafficDirection", "direction")
_reason = values.of_enum("flow.DropReason", "drop reason")

FLAGS: tuple[Flag, ...] = (
    Flag("pod", "pod", values.text, "[NS/]POD", "of pods whose names begin so", ends=True),
    Flag("namespace", "namespace", values.text, "NS", "of all pods there", ends=True, short="n"),
    Flag("ip", "ip", values.text, "ADDRESS|NET", "of an address or network", ends=True),
    Flag("fqdn", "fqdn", values.text, "NAME", "of a DNS name; * is any", ends=True),
    Flag("label", "label", values.text, "SELECTOR", "of labels: app=web,tier!=db",
         ends=True, split=False, short="l"),
    Flag("service", "service", values.text, "[NS/]SERVICE", "of a Service", ends=True),
    Flag("port", "port", values.port, "PORT", "of a port", ends=True),
    Flag("identity", "identity", values.identity, "N|NAME", "of an identity: 2, world", ends=True),
    Flag("workload", "workload", values.workload, "[KIND/]NAME", "of a Deployment or the like",
         ends=True),
    Flag("cluster", "cluster_name", values.text, "NAME", "of a cluster", ends=True),
    Flag("verdict", "verdict", values.verdict, "VERDICT",
         "FORWARDED (ALLOWED), DROPPED (DENIED), AUDIT, REDIRECTED, ERROR, TRACED, TRANSLATED"),
    Flag("drop-reason-desc", "drop_reason_desc", _reason, "REASON", "POLICY_DENIED, …"),
    Flag("type", "event_type", values.event_type, "TYPE[:SUB]",
         "drop, trace, trace:to-endpoint, policy-verdict, trace-sock, l7, …", short="t"),
    Flag("protocol", "protocol", values.lower, "NAME", "tcp, udp, icmp, http, dns, tls, …"),
    Flag("http-status", "http_status_code", values.text, "CODE", "404, 5+"),
    Flag("http-method", "http_method", values.text, "METHOD", "get, post, …"),
    Flag("http-path", "http_path", values.text, "REGEX", "of a request's path", split=False),
    Flag("http-url", "http_url", values.text, "REGEX", "of a request's URL", split=False),
    Flag("http-header", "http_header", values.http_header, "NAME:VALUE", "of a request",
         split=False),
    Flag("dns-query", "dns_query", values.text, "REGEX", "of the name that is asked for",
         split=False),
    Flag("tcp-flags", "tcp_flags", values.tcp_flags, "FLAG,…", "that are all set", split=False),
    Flag("node-name", "node_name", values.text, "NAME", "where it was seen: node, cluster/, n*"),
    Flag("node-label", "node_labels", values.text, "SELECTOR", "of that node's labels",
         split=False),
    Flag("ip-version", "ip_version", values.ip_version, "4|6", "of the packets"),
    Flag("ipv4", "ip_version", values.ip_version, "", "IPv4 alone", short="4", constant="4"),
    Flag("ipv6", "ip_version", values.ip_version, "", "IPv6 alone", short="6", constant="6"),
    Flag("traffic-direction", "traffic_direction", _direction, "WAY", "ingress, egress"),
    Flag("reply", "reply", values.flag, "BOOL", "answers alone, or with false the rest",
         constant="true"),
    Flag("interface", "interface", values.interface, "NAME|INDEX", "where it was seen"),
    Flag("uuid", "uuid", values.text, "UUID", "this flow"),
    Flag("trace-id", "trace_id", values.text, "ID", "of requests with this W3C trace id"),
    Flag("ip-trace-id", "ip_trace_id", values.number, "N", "of packets with this trace id"),
    Flag("snat-ip", "source_ip_xlated", values.text, "ADDRESS|NET", "what a source became"),
    Flag("encrypted", "encrypted", values.flag, "", "of encrypted packets", constant="true"),
    Flag("unencrypted", "encrypted", values.flag, "", "of packets in the clear",
         constant="false"),
    Flag("cel-expression", "cel_expression", values.text, "CEL", "as the server understands it",
         split=False),
)  # fmt: skip
