"""LB-IPAM by example: objects in, addresses and reasons out."""

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from cairn.compile.ipam import IpamResult, Verdict, compile_ipam
from cairn.kube.load_balancer import load_balancer_of
from cairn.kube.metadata import Key
from cairn.kube.pool import pool_of

HOMELAB_SPEC: dict[str, Any] = {
    "cidrs": [{"cidr": "192.168.1.100/28"}],
    "serviceSelector": {"matchLabels": {"io.cilium/lb-ipam-ips": "pool-homelab"}},
}


def pool(name: str = "p", created: str = "1", **spec: Any) -> dict[str, Any]:
    spec = spec or {"blocks": [{"cidr": "10.0.0.0/30"}]}
    return {"metadata": {"name": name, "creationTimestamp": created}, "spec": spec}


def service(
    name: str = "web",
    created: str = "1",
    *,
    namespace: str = "default",
    held: tuple[str, ...] = (),
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "creationTimestamp": created,
            "labels": labels or {},
            "annotations": annotations or {},
        },
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in held]}},
    }


def run(pools: list[dict[str, Any]], services: list[dict[str, Any]], **more: Any) -> IpamResult:
    return compile_ipam(map(pool_of, pools), map(load_balancer_of, services), **more)


def verdict(result: IpamResult, name: str, namespace: str = "default") -> Verdict:
    return result.services[Key(namespace, name)]


def addresses(result: IpamResult, *names: str) -> list[tuple[str, ...]]:
    return [verdict(result, name).addresses for name in names]


def reason(result: IpamResult, name: str = "web") -> tuple[str, str]:
    found = verdict(result, name).reason
    assert found is not None
    return found.code, found.message


def test_the_homelab_pool_gives_100_to_111_and_then_says_that_it_is_exhausted() -> None:
    labels = {"io.cilium/lb-ipam-ips": "pool-homelab"}
    services = [service(f"s{i:02}", labels=labels) for i in range(13)]
    result = run([pool("homelab-pool", **HOMELAB_SPEC)], services)
    given = [verdict(result, f"s{i:02}").addresses for i in range(13)]
    assert given == [(f"192.168.1.{100 + i}",) for i in range(12)] + [()]
    code, message = reason(result, "s12")
    assert code == "out_of_ips"
    assert message.startswith("pool homelab-pool is exhausted: 12 of 12 in use; add a block")
    state = result.pools["homelab-pool"]
    assert (state.total, state.used, state.available) == (12, 12, 0)


def test_findings_of_the_homelab_pool_name_cidrs_host_bits_and_the_subnet() -> None:
    result = run(
        [pool("homelab-pool", **HOMELAB_SPEC)], [], node_networks=[ip_network("192.168.1.0/24")]
    )
    findings = {f.reason: f.message for f in result.pools["homelab-pool"].findings}
    assert set(findings) == {"CidrsAlias", "HostBits", "NodeSubnet"}
    assert "192.168.1.96 to 192.168.1.111" in findings["HostBits"]
    assert "192.168.1.100 to 192.168.1.115" in findings["HostBits"]
    assert "write start: 192.168.1.100 and stop:" in findings["HostBits"]


def test_a_service_without_the_pools_label_is_told_pool_label_and_command() -> None:
    result = run([pool("homelab-pool", **HOMELAB_SPEC)], [service("my-web-app")])
    code, message = reason(result, "my-web-app")
    assert code == "no_pool"
    assert "pool homelab-pool selects the label io.cilium/lb-ipam-ips=pool-homelab" in message
    assert (
        "kubectl label service -n default my-web-app io.cilium/lb-ipam-ips=pool-homelab" in message
    )
    (notice,) = verdict(result, "my-web-app").notices
    assert (notice.warning, notice.reason, notice.message) == (True, "AddressPending", message)


BLOCKS = [
    ({"blocks": [{"cidr": "10.0.0.0/30"}]}, 4, "10.0.0.0"),
    ({"blocks": [{"cidr": "10.0.0.0/30"}], "allowFirstLastIPs": "No"}, 2, "10.0.0.1"),
    ({"blocks": [{"cidr": "10.0.0.1/32"}], "allowFirstLastIPs": "No"}, 1, "10.0.0.1"),
    ({"blocks": [{"cidr": "10.0.0.2/31"}], "allowFirstLastIPs": "No"}, 2, "10.0.0.2"),
    ({"blocks": [{"start": "10.0.0.7", "stop": "10.0.0.9"}]}, 3, "10.0.0.7"),
    ({"blocks": [{"start": "10.0.0.7"}]}, 1, "10.0.0.7"),
    ({"cidrs": [{"cidr": "10.1.0.0/24"}]}, 256, "10.1.0.0"),
    (
        {"blocks": [{"cidr": "10.0.0.0/31"}, {"start": "10.0.0.1", "stop": "10.0.0.2"}]},
        3,
        "10.0.0.0",
    ),
    ({"blocks": [{"cidr": "nonsense"}, {"cidr": "10.0.0.9/32"}]}, 1, "10.0.0.9"),
]


@pytest.mark.parametrize(("spec", "total", "first"), BLOCKS)
def test_blocks(spec: dict[str, Any], total: int, first: str) -> None:
    result = run([pool(**spec)], [service()])
    assert result.pools["p"].total == total
    assert addresses(result, "web") == [(first,)]


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"cidr": "nonsense"}, "nonsense is ignored"),
        ({"start": "10.0.0.9", "stop": "10.0.0.1"}, "stop lies before start"),
        ({"start": "10.0.0.9", "stop": "fd00::1"}, "different families"),
        ({"cidr": "10.0.0.0/30", "start": "10.0.0.1"}, "exclude each other"),
        ({}, "neither cidr nor start"),
    ],
)
def test_a_bad_block_is_a_finding(block: dict[str, str], words: str) -> None:
    state = run([pool(blocks=[block])], []).pools["p"]
    assert state.total == 0
    assert any(words in finding.message for finding in state.findings)


@pytest.mark.parametrize(
    ("class_name", "handled"),
    [
        (None, True),
        ("io.cilium/bgp-control-plane", True),
        ("io.cilium/l2-announcer", True),
        ("cairn.io/lb", True),
        ("metallb.universe.tf/metallb", False),
    ],
)
def test_load_balancer_class(class_name: str | None, handled: bool) -> None:
    result = run([pool()], [service(loadBalancerClass=class_name)])
    assert (Key("default", "web") in result.services) is handled


SELECTORS = [
    ({"matchLabels": {"io.kubernetes.service.namespace": "default"}}, True),
    ({"matchLabels": {"io.kubernetes.service.namespace": "other"}}, False),
    ({"matchLabels": {"io.kubernetes.service.name": "web"}}, True),
    ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c"]}]}, True),
    ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, False),
    ({"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["never"]}]}, True),
    ({"matchExpressions": [{"key": "x", "operator": "Like", "values": ["y"]}]}, False),
    (None, True),
]


@pytest.mark.parametrize(("selector", "matches"), SELECTORS)
def test_service_selector(selector: dict[str, Any] | None, matches: bool) -> None:
    result = run(
        [pool(blocks=[{"cidr": "10.0.0.0/30"}], serviceSelector=selector)],
        [service(labels={"a": "b"})],
    )
    assert verdict(result, "web").satisfied is matches


REQUESTS = [
    ({"loadBalancerIP": "10.0.0.2"}, {}, ("10.0.0.2",), "satisfied"),
    ({}, {"lbipam.cilium.io/ips": "10.0.0.3, 10.0.0.1"}, ("10.0.0.1", "10.0.0.3"), "satisfied"),
    ({}, {"io.cilium/lb-ipam-ips": "10.0.0.1"}, ("10.0.0.1",), "satisfied"),
    ({"loadBalancerIP": "10.9.9.9"}, {}, (), "no_pool"),
    ({"loadBalancerIP": "10.0.0.0"}, {}, (), "already_allocated"),
    ({"loadBalancerIP": "here"}, {}, (), "invalid_request"),
    ({}, {"lbipam.cilium.io/ips": "10.0.0.1,10.9.9.9"}, ("10.0.0.1",), "no_pool"),
]


@pytest.mark.parametrize(("spec", "annotations", "expected", "code"), REQUESTS)
def test_requested_addresses(
    spec: dict[str, Any], annotations: dict[str, str], expected: tuple[str, ...], code: str
) -> None:
    others = [service("older", "0", held=("10.0.0.0",))]
    result = run([pool()], [*others, service(annotations=annotations, **spec)])
    assert addresses(result, "web") == [expected]
    assert reason(result)[0] == code


def test_a_request_in_a_pool_that_does_not_select_says_so() -> None:
    selector = {"matchLabels": {"a": "b"}}
    pools = [pool(blocks=[{"cidr": "10.0.0.0/30"}], serviceSelector=selector)]
    code, message = reason(run(pools, [service(loadBalancerIP="10.0.0.1")]))
    assert code == "pool_selector_mismatch"
    assert "kubectl label service -n default web a=b" in message


def sharer(name: str, port: int, namespace: str = "default", **more: Any) -> dict[str, Any]:
    annotations = {"lbipam.cilium.io/sharing-key": "k"}
    if cross := more.pop("cross", ""):
        annotations["lbipam.cilium.io/sharing-cross-namespace"] = cross
    return service(
        name,
        name,
        namespace=namespace,
        annotations=annotations,
        ports=[{"port": port}],
        **more,
    )


SHARING = [
    (sharer("a", 80), sharer("b", 443), True),
    (sharer("a", 80), sharer("b", 80), False),
    (sharer("a", 80), sharer("b", 443, "other"), False),
    (sharer("a", 80, cross="other"), sharer("b", 443, "other", cross="default"), True),
    (sharer("a", 80, cross="*"), sharer("b", 443, "other", cross="*"), True),
    (sharer("a", 80, cross="*"), sharer("b", 443, "other"), False),
    (sharer("a", 80), sharer("b", 443, externalTrafficPolicy="Local"), False),
    (
        sharer("a", 80, externalTrafficPolicy="Local", selector={"x": "y"}),
        sharer("b", 443, externalTrafficPolicy="Local", selector={"x": "y"}),
        True,
    ),
    (
        sharer("a", 80, externalTrafficPolicy="Local", selector={"x": "y"}),
        sharer("b", 443, externalTrafficPolicy="Local", selector={"x": "z"}),
        False,
    ),
]


@pytest.mark.parametrize(("one", "other", "shared"), SHARING)
def test_sharing(one: dict[str, Any], other: dict[str, Any], shared: bool) -> None:
    result = run([pool()], [one, other])
    first = verdict(result, "a").addresses
    second = verdict(result, "b", other["metadata"]["namespace"]).addresses
    assert first
    assert second
    assert (first == second) is shared


def test_an_overlapping_younger_pool_is_named_and_gives_nothing() -> None:
    older = pool("older", "1", blocks=[{"cidr": "10.0.0.0/30"}])
    younger = pool("younger", "2", blocks=[{"start": "10.0.0.3", "stop": "10.0.0.9"}])
    services = [service(f"s{i}") for i in range(5)]
    result = run([younger, older], services)
    assert result.pools["older"].conflict == ""
    assert "overlaps 10.0.0.0/30 of the older pool older" in result.pools["younger"].conflict
    assert verdict(result, "s4").addresses == ()


def test_a_disabled_pool_keeps_and_gives_nothing_new() -> None:
    pools = [pool(blocks=[{"cidr": "10.0.0.0/30"}], disabled=True)]
    result = run(pools, [service("old", held=("10.0.0.2",)), service("new")])
    assert addresses(result, "old", "new") == [("10.0.0.2",), ()]
    assert "pool p is disabled" in reason(result, "new")[1]


FAMILIES = [
    ({}, ("10.0.0.0",), True),
    ({"ipFamilies": ["IPv6"]}, ("fd00::",), True),
    (
        {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"},
        ("10.0.0.0", "fd00::"),
        True,
    ),
    (
        {"ipFamilies": ["IPv6", "IPv4"], "ipFamilyPolicy": "PreferDualStack"},
        ("fd00::", "10.0.0.0"),
        True,
    ),
]


@pytest.mark.parametrize(("spec", "expected", "satisfied"), FAMILIES)
def test_families(spec: dict[str, Any], expected: tuple[str, ...], satisfied: bool) -> None:
    pools = [pool(blocks=[{"cidr": "fd00::/120"}, {"cidr": "10.0.0.0/30"}])]
    found = verdict(run(pools, [service(**spec)]), "web")
    assert (found.addresses, found.satisfied) == (expected, satisfied)


FOUR: dict[str, Any] = {"blocks": [{"cidr": "10.0.0.0/30"}]}
SIX: dict[str, Any] = {"blocks": [{"cidr": "fd00::/120"}]}
PREFER: dict[str, Any] = {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"}
REQUIRE: dict[str, Any] = {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}
IPS = "lbipam.cilium.io/ips"
NO_SIX = "pool p has no IPv6 block"
DUAL = [
    # spec, annotations, pools, held before  ->  addresses, code, words of the message
    (PREFER, {}, [FOUR, SIX], (), ("10.0.0.0", "fd00::"), "satisfied", "fd00:: from pool p1"),
    (PREFER, {}, [FOUR], (), ("10.0.0.0",), "satisfied", f"no IPv6 address: {NO_SIX}"),
    (PREFER, {}, [SIX], (), ("fd00::",), "satisfied", "no IPv4 address: pool p has no IPv4 block"),
    (PREFER, {}, [], (), (), "no_pool", "no CiliumLoadBalancerIPPool exists"),
    (
        {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack"},
        {},
        [FOUR, SIX],
        (),
        ("10.0.0.0",),
        "satisfied",
        "no IPv6 address: spec.ipFamilies leaves IPv6 out",
    ),
    ({"ipFamilyPolicy": "PreferDualStack"}, {}, [FOUR], (), ("10.0.0.0",), "satisfied", NO_SIX),
    (REQUIRE, {}, [FOUR, SIX], (), ("10.0.0.0", "fd00::"), "satisfied", ""),
    (REQUIRE, {}, [FOUR], (), (), "no_pool", "IPv4 and IPv6 are given together (Req"),
    (REQUIRE, {}, [FOUR], (), (), "no_pool", NO_SIX),
    (REQUIRE, {}, [FOUR], ("10.0.0.3",), ("10.0.0.3",), "no_pool", NO_SIX),
    (REQUIRE, {}, [FOUR, SIX], ("10.0.0.3",), ("10.0.0.3", "fd00::"), "satisfied", ""),
    (PREFER, {}, [FOUR, SIX], ("fd00::7",), ("10.0.0.0", "fd00::7"), "satisfied", ""),
    ({}, {}, [FOUR, SIX], ("10.0.0.2", "fd00::7"), ("10.0.0.2",), "satisfied", ""),
    (PREFER, {IPS: "fd00::5,10.0.0.2"}, [FOUR, SIX], (), ("10.0.0.2", "fd00::5"), "satisfied", ""),
    (PREFER, {IPS: "fd00::5"}, [FOUR, SIX], (), ("10.0.0.0", "fd00::5"), "satisfied", ""),
    (REQUIRE, {IPS: "fd00::5"}, [FOUR, SIX], (), ("10.0.0.0", "fd00::5"), "satisfied", ""),
    (REQUIRE, {IPS: "fd00::5"}, [SIX], (), (), "no_pool", "no IPv4 block"),
    (REQUIRE, {IPS: "fd00::5,10.9.9.9"}, [FOUR, SIX], (), (), "no_pool", "no pool has 10.9.9.9"),
    (PREFER, {IPS: "fd00::5,10.9.9.9"}, [FOUR, SIX], (), ("fd00::5",), "no_pool", "10.9.9.9"),
    ({}, {IPS: "fd00::5"}, [FOUR, SIX], (), ("10.0.0.0",), "family_mismatch", "is IPv6, but spec."),
    (
        {**PREFER, "loadBalancerIP": "10.0.0.2"},
        {},
        [FOUR, SIX],
        ("10.0.0.1", "fd00::9"),
        ("10.0.0.2", "fd00::9"),
        "satisfied",
        "",
    ),
]


@pytest.mark.parametrize(
    ("spec", "annotations", "pools", "held", "expected", "code", "words"), DUAL
)
def test_two_families(
    spec: dict[str, Any],
    annotations: dict[str, str],
    pools: list[dict[str, Any]],
    held: tuple[str, ...],
    expected: tuple[str, ...],
    code: str,
    words: str,
) -> None:
    made = [pool("p" if n == 0 else f"p{n}", str(n), **one) for n, one in enumerate(pools)]
    result = run(made, [service(held=held, annotations=annotations, **spec)])
    assert addresses(result, "web") == [expected]
    assert reason(result)[0] == code
    assert words in reason(result)[1]


def test_who_waits_for_the_other_family_takes_nothing_from_others() -> None:
    one: dict[str, Any] = {"blocks": [{"cidr": "10.0.0.1/32"}]}
    waiting, other = service("a", "1", **REQUIRE), service("b", "2")
    result = run([pool(**one)], [waiting, other])
    assert addresses(result, "a", "b") == [(), ("10.0.0.1",)]
    asked = service("a", "1", annotations={IPS: "10.0.0.1"}, **REQUIRE)
    again = run([pool(**one)], [asked])
    assert addresses(again, "a") == [()]
    assert again.pools["p"].used == 0


def test_an_address_that_was_asked_for_in_vain_goes_to_the_next() -> None:
    pools = [pool(blocks=[{"start": "10.0.0.0", "stop": "10.0.0.1"}])]
    vain = service("b", "2", annotations={IPS: "10.0.0.0"}, **REQUIRE)
    result = run(pools, [service("a", "1"), vain, service("c", "3")])
    assert addresses(result, "a", "b", "c") == [("10.0.0.1",), (), ("10.0.0.0",)]


def test_sharers_share_in_both_families() -> None:
    pools = [pool(blocks=[{"cidr": "fd00::/64"}, {"cidr": "10.0.0.0/30"}])]
    result = run(pools, [sharer("a", 80, **REQUIRE), sharer("b", 443, **PREFER)])
    assert addresses(result, "a", "b") == [("10.0.0.0", "fd00::")] * 2
    assert result.pools["p"].used == 2


HUGE = [
    ({"cidr": "2001:db8::/64"}, 1 << 64, "2001:db8::"),
    ({"cidr": "2001:db8::/32"}, 1 << 96, "2001:db8::"),
    ({"start": "2001:db8::100", "stop": "2001:db8:0:1::"}, (1 << 64) - 0xFF, "2001:db8::100"),
    ({"start": "2001:db8::5"}, 1, "2001:db8::5"),
    ({"cidr": "2001:db8::77/64"}, (1 << 64) - 0x77, "2001:db8::77"),
]


@pytest.mark.parametrize(("block", "total", "first"), HUGE)
def test_ipv6_blocks_are_never_counted_out(block: dict[str, str], total: int, first: str) -> None:
    older = [service(f"s{n:03}", "0", ipFamilies=["IPv6"]) for n in range(300)]
    result = run([pool(blocks=[block])], older)
    state = result.pools["p"]
    assert verdict(result, "s000").addresses == (first,)
    assert (state.total, state.used) == (total, min(total, 300))
    assert state.available == total - state.used
    ends = run([pool(allowFirstLastIPs="No", blocks=[block])], older[:1])
    kept = "start" in block or "77" in block["cidr"]
    assert ends.pools["p"].total == total - (0 if "start" in block else 1 if kept else 2)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("fe80::/64", "fe80::/10 (link-local)"),
        ("ff0e::/120", "ff00::/8 (multicast)"),
        ("::ffff:192.0.2.0/120", "write it as IPv4"),
        ("::/0", "unspecified and loopback"),
        ("224.0.0.0/24", "multicast"),
        ("127.0.0.1/32", "loopback"),
    ],
)
def test_addresses_that_no_service_can_have(block: str, words: str) -> None:
    state = run([pool(blocks=[{"cidr": block}])], []).pools["p"]
    assert state.total == 0
    assert any(words in finding.message for finding in state.findings)


def test_a_pool_in_the_nodes_ipv6_subnet_is_told_of_neighbour_discovery() -> None:
    nodes = [ip_network("fd00:1::/64")]
    state = run([pool(blocks=[{"cidr": "fd00:1::f000/116"}])], [], node_networks=nodes).pools["p"]
    (finding,) = state.findings
    assert finding.reason == "NodeSubnet"
    assert "by neighbour discovery" in finding.message


def test_the_older_keeps_an_address_that_two_claim() -> None:
    result = run(
        [pool()], [service("b", "2", held=("10.0.0.2",)), service("a", "1", held=("10.0.0.2",))]
    )
    assert addresses(result, "a", "b") == [("10.0.0.2",), ("10.0.0.0",)]
    released = [n for n in verdict(result, "b").notices if n.reason == "AddressReleased"]
    assert "the older Service default/a holds it" in released[0].message


def test_a_pool_edit_moves_only_what_it_no_longer_holds() -> None:
    edited = pool(blocks=[{"start": "10.0.0.2", "stop": "10.0.0.9"}])
    services = [service("a", held=("10.0.0.1",)), service("b", held=("10.0.0.3",))]
    result = run([edited], services)
    assert addresses(result, "a", "b") == [("10.0.0.2",), ("10.0.0.3",)]
    assert "no pool holds it any more" in verdict(result, "a").notices[0].message


def test_a_service_that_is_no_load_balancer_any_more_is_cleared() -> None:
    changed = service(held=("10.0.0.1",), type="ClusterIP")
    changed["status"]["conditions"] = [{"type": "cilium.io/IPAMRequestSatisfied", "status": "True"}]
    result = run([pool()], [changed, service("new", loadBalancerIP="10.0.0.1")])
    found = verdict(result, "web")
    assert (found.addresses, found.reason) == ((), None)
    assert verdict(result, "new").addresses == ("10.0.0.1",)


def test_addresses_of_nodes_are_never_given() -> None:
    reserved = {ip_address("10.0.0.0"): "node node-1"}
    result = run([pool()], [service()], reserved=reserved)
    assert verdict(result, "web").addresses == ("10.0.0.1",)
    assert "belongs to node node-1" in result.pools["p"].findings[0].message
    asked = run([pool()], [service(loadBalancerIP="10.0.0.0")], reserved=reserved)
    assert "belongs to node node-1" in reason(asked)[1]


def test_no_pool_at_all() -> None:
    assert reason(run([], [service()])) == (
        "no_pool",
        "no CiliumLoadBalancerIPPool exists; create one with a block of free addresses",
    )


def test_a_condition_that_stands_makes_no_second_event() -> None:
    first = run([pool()], [service()])
    code, message = reason(first)
    again = service(held=verdict(first, "web").addresses)
    again["status"]["conditions"] = [
        {"type": "cilium.io/IPAMRequestSatisfied", "reason": code, "message": message}
    ]
    assert verdict(run([pool()], [again]), "web").notices == ()
