"""Every flag of `observe` as the filter that it becomes; flags that contradict."""

import json
from typing import Any

import pytest
from google.protobuf import json_format

from cairn.cli.hubble_options import make_parser
from cairn.hubble.client_filter import Chosen, choose, read_filters, spell_filters
from cairn.hubble.client_flags import FLAGS
from cairn.hubble.client_values import BadFlag
from cairn.hubble.proto import message

ONE_END = [
    ("pod", "production/web,kube-system/", ["production/web", "kube-system/"], "pod"),
    ("namespace", "a,b", ["a/", "b/"], "pod"),
    ("ip", "10.0.0.1,10.1.0.0/16", ["10.0.0.1", "10.1.0.0/16"], "ip"),
    ("fqdn", "*.example.org", ["*.example.org"], "fqdn"),
    ("label", "app in (a, b),!tier", ["app in (a, b),!tier"], "label"),
    ("service", "default/web", ["default/web"], "service"),
    ("port", "80,443", ["80", "443"], "port"),
    ("identity", "40001,world,reserved:host", [40001, 2, 1], "identity"),
    ("workload", "deployment/web,db", [{"name": "web", "kind": "Deployment"}, {"name": "db"}],
     "workload"),
    ("cluster", "home", ["home"], "cluster_name"),
]  # fmt: skip
OTHERS: list[tuple[list[str], dict[str, Any]]] = [
    (["--verdict", "DENIED,allowed", "--verdict", "AUDIT"],
     {"verdict": ["DROPPED", "FORWARDED", "AUDIT"]}),
    (["--verdict", "REDIRECTED,ERROR,TRACED,TRANSLATED"],
     {"verdict": ["REDIRECTED", "ERROR", "TRACED", "TRANSLATED"]}),
    (["--drop-reason-desc", "policy-denied"], {"drop_reason_desc": ["POLICY_DENIED"]}),
    (["--type", "l7"], {"event_type": [{"type": 129}]}),
    (["-t", "trace:to-network,drop:policy-denied,drop:177,trace-sock"],
     {"event_type": [{"type": 4, "match_sub_type": True, "sub_type": 11},
                     {"type": 1, "match_sub_type": True, "sub_type": 133},
                     {"type": 1, "match_sub_type": True, "sub_type": 177}, {"type": 7}]}),
    (["--protocol", "TCP,http"], {"protocol": ["tcp", "http"]}),
    (["--http-status", "404,5+"], {"http_status_code": ["404", "5+"]}),
    (["--http-method", "get"], {"http_method": ["get"]}),
    (["--http-path", "/a{1,2}"], {"http_path": ["/a{1,2}"]}),
    (["--http-url", "^http://a,b"], {"http_url": ["^http://a,b"]}),
    (["--http-header", "X-A: b:c"], {"http_header": [{"key": "X-A", "value": "b:c"}]}),
    (["--dns-query", r"example\.org\.$"], {"dns_query": [r"example\.org\.$"]}),
    (["--tcp-flags", "syn,ack", "--tcp-flags", "RST"],
     {"tcp_flags": [{"SYN": True, "ACK": True}, {"RST": True}]}),
    (["--node-name", "node-1,home/n*"], {"node_name": ["node-1", "home/n*"]}),
    (["--node-label", "zone=a,!b"], {"node_labels": ["zone=a,!b"]}),
    (["--ip-version", "v6"], {"ip_version": ["IPv6"]}),
    (["--ipv4"], {"ip_version": ["IPv4"]}),
    (["-4", "-6"], {"ip_version": ["IPv4", "IPv6"]}),
    (["--ipv6"], {"ip_version": ["IPv6"]}),
    (["--traffic-direction", "ingress"], {"traffic_direction": ["INGRESS"]}),
    (["--reply"], {"reply": [True]}),
    (["--reply=false"], {"reply": [False]}),
    (["--interface", "eth0,7"], {"interface": [{"name": "eth0"}, {"index": 7}]}),
    (["--uuid", "a,b"], {"uuid": ["a", "b"]}),
    (["--trace-id", "4bf9"], {"trace_id": ["4bf9"]}),
    (["--ip-trace-id", "18446744073709551615"], {"ip_trace_id": ["18446744073709551615"]}),
    (["--snat-ip", "10.0.0.9"], {"source_ip_xlated": ["10.0.0.9"]}),
    (["--encrypted"], {"encrypted": [True]}),
    (["--unencrypted"], {"encrypted": [False]}),
    (["--cel-expression", "a, b"], {"experimental": {"cel_expression": ["a, b"]}}),
]  # fmt: skip


def chosen(*words: str) -> Chosen:
    options = make_parser().parse_args(words)
    return choose(options.words, allow=options.allowlist, deny=options.denylist)


def plain(filters: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [json_format.MessageToDict(one, preserving_proto_field_name=True) for one in filters]


@pytest.mark.parametrize(("name", "text", "values", "field"), ONE_END, ids=lambda v: str(v)[:20])
def test_flags_of_one_end_and_of_either(
    name: str, text: str, values: list[Any], field: str
) -> None:
    assert plain(chosen(f"--from-{name}", text).allow) == [{f"source_{field}": values}]
    assert plain(chosen(f"--to-{name}", text).allow) == [{f"destination_{field}": values}]
    assert plain(chosen(f"--{name}", text).allow) == [
        {f"source_{field}": values},
        {f"destination_{field}": values},
    ]


@pytest.mark.parametrize(("words", "expected"), OTHERS, ids=lambda v: str(v)[:40])
def test_flags_of_the_whole_flow(words: list[str], expected: dict[str, Any]) -> None:
    assert plain(chosen(*words).allow) == [expected]


def test_every_flag_is_tested_and_every_field_has_one() -> None:
    tested = {row[0] for row in ONE_END} | {
        word.partition("=")[0].removeprefix("--") for words, _ in OTHERS for word in words
    }
    assert {flag.name for flag in FLAGS} <= tested
    of_flags = {flag.field for flag in FLAGS if not flag.ends} | {
        f"{end}_{flag.field}" for flag in FLAGS if flag.ends for end in ("source", "destination")
    }
    fields = {field.name for field in message("flow.FlowFilter").DESCRIPTOR.fields}
    assert fields - {"experimental"} <= of_flags


def test_different_flags_all_hold_and_either_end_makes_two_filters() -> None:
    found = chosen("--pod", "a/b", "--verdict", "DROPPED", "--from-port", "80", "-l", "x=y")
    both = {"verdict": ["DROPPED"], "source_port": ["80"]}
    assert plain(found.allow) == [
        {"source_pod": ["a/b"], "source_label": ["x=y"], **both},
        {"destination_pod": ["a/b"], "destination_label": ["x=y"], **both},
    ]
    assert found.deny == ()


def test_not_turns_the_next_flag_round() -> None:
    found = chosen("--verdict", "DROPPED", "--not", "--port", "53", "--not", "--protocol", "udp",
                   "--to-pod", "a/b")  # fmt: skip
    assert plain(found.allow) == [{"verdict": ["DROPPED"], "destination_pod": ["a/b"]}]
    assert plain(found.deny) == [
        {"source_port": ["53"], "protocol": ["udp"]},
        {"destination_port": ["53"], "protocol": ["udp"]},
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-n", "production", "--pod", "web"],
         [{"source_pod": ["production/web"]}, {"destination_pod": ["production/web"]}]),
        (["-n", "production", "--from-pod", "web", "--to-pod", "db"],
         [{"source_pod": ["production/web"], "destination_pod": ["production/db"]}]),
        (["--from-namespace", "a,b", "--from-pod", "web"],
         [{"source_pod": ["a/web", "b/web"]}]),
        (["--from-namespace", "a", "--to-namespace", "b", "--to-service", "s"],
         [{"destination_service": ["b/s"], "source_pod": ["a/"]}]),
        (["-n", "a", "--pod", "a/web"],
         [{"source_pod": ["a/web"]}, {"destination_pod": ["a/web"]}]),
    ],
    ids=lambda v: str(v)[:40],
)  # fmt: skip
def test_namespaces_complete_names(words: list[str], expected: list[dict[str, Any]]) -> None:
    assert plain(chosen(*words).allow) == expected


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--pod", "a/b", "--from-pod", "c/d"], "--from-pod and --pod cannot be combined"),
        (["--to-ip", "10.0.0.1", "--ip", "10.0.0.2"], "--to-ip and --ip cannot be combined"),
        (["--from-namespace", "a", "--pod", "b"], "--from-namespace and --pod cannot be combined"),
        (["-n", "a", "--pod", "b/c"], "--pod b/c is not in namespace a"),
        (["--verdict", "MAYBE"], "--verdict: verdict 'MAYBE' is none of"),
        (["--verdict", "VERDICT_UNKNOWN"], "is none of"),
        (["--type", "nothing"], "type 'nothing' is none of"),
        (["--type", "trace:nowhere"], "'nowhere' is no sub-type"),
        (["--port", "70000"], "port '70000' is not 0 to 65535"),
        (["--identity", "nobody"], "identity 'nobody'"),
        (["--tcp-flags", "SYN,NO"], "TCP flag 'NO'"),
        (["--http-header", "plain"], "write name:value"),
        (["--workload", "a/b/c"], "write name, or Deployment/name"),
        (["--traffic-direction", "up"], "direction 'up'"),
        (["--drop-reason-desc", "why"], "drop reason 'why'"),
        (["--ip-version", "5"], "neither 4 nor 6"),
        (["--reply=perhaps"], "neither true nor false"),
        (["--namespace", "a/b"], "'a/b' is no namespace"),
        (["--pod", ""], "an empty value"),
        (["--uuid", "a,,b"], "an empty value"),
        (["--allowlist", "{"], "'{' is no filter"),
        (["--denylist", '{"colour": ["red"]}'], "is no filter"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_what_cannot_be_meant_is_said_in_one_line(words: list[str], said: str) -> None:
    with pytest.raises(BadFlag) as error:
        chosen(*words)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_filters_as_text_are_read_again() -> None:
    found = chosen("--pod", "it's/x", "--not", "--type", "l7", "--allowlist", '{"uuid": ["u"]}')
    lines = spell_filters(found).splitlines()
    assert [line for line in lines if not line.startswith("-")] == ["allowlist:", "denylist:"]
    at = lines.index("denylist:")
    texts = [line.removeprefix("- '").removesuffix("'").replace("''", "'") for line in lines]
    assert tuple(read_filters(texts[1:at])) == found.allow
    assert tuple(read_filters(texts[at + 1 :])) == found.deny
    assert json.loads(texts[1]) == {"uuid": ["u"]}
