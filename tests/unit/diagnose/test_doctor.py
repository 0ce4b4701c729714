"""Every finding of the doctor: one change in healthy facts makes it appear, first; undone, gone."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from command_lines import check_command
from healthy_facts import condition, facts_of, healthy

from cairn.diagnose.doctor.table import AREAS, CHECKS, examine, findings_of, is_healthy
from cairn.diagnose.finding import Weight
from cairn.diagnose.findings import BY_NAME, KINDS
from cairn.kube.node import EJECTED, spell_ejections
from cairn.net import L4Address, Protocol, parse_address

Plain = dict[str, Any]
Change = Callable[[Plain], object]


def put(path: str, value: object) -> Change:
    """Return a change of the value at a path of keys and indexes; LAST adds to a list."""

    def change(facts: Plain) -> None:
        at: Any = facts
        *way, last = path.split("/")
        for word in way:
            at = at[int(word)] if isinstance(at, list) else at.setdefault(word, {})
        if last == "LAST":
            at.append(value)
        else:
            at[int(last) if isinstance(at, list) else last.replace("~", "/")] = value

    return change


def both(*changes: Change) -> Change:
    """Return several changes as one."""
    return lambda facts: [change(facts) for change in changes]


def drop(path: str) -> Change:
    """Return the removal of what is at a path."""

    def change(facts: Plain) -> None:
        at: Any = facts
        *way, last = path.split("/")
        for word in way:
            at = at[int(word)] if isinstance(at, list) else at[word]
        del at[int(last) if isinstance(at, list) else last]

    return change


SERVICE, POD = "cluster/objects/Service/0", "cluster/objects/Pod/0"
POOL, AGENT = "cluster/objects/CiliumLoadBalancerIPPool/0", "cluster/objects/Pod/1"
N1, SESSION = "nodes/n1", "nodes/n1/speaker/sessions/0"


def pending(reason: str) -> Change:
    """Return a Service without an address."""
    said = condition("cilium.io/IPAMRequestSatisfied", "False", reason)
    return both(
        put(f"{SERVICE}/status", {"conditions": [said]}),
        *(put(f"nodes/{n}/speaker/announced", []) for n in ("n1", "n2")),
        put("router/paths", []),
        put("router/routes", []),
    )


def down(error: str) -> Change:
    """Return a session that is down with an error."""
    return both(put(f"{SESSION}/state", "active"), put(f"{SESSION}/last_error", error))


def unhonoured(why: str) -> Change:
    """Return a node that says what of its BGP configuration it does not do."""
    told = condition("cairn.io/Honoured", "False", why)
    return put("cluster/objects/CiliumBGPNodeConfig/0/status/conditions", [told])


def waiting(container: str, reason: str) -> Plain:
    return {"name": container, "restartCount": 5, "state": {"waiting": {"reason": reason}}}


CHANGES: dict[str, Change] = {
    "PoolExhausted": pending("pool pool has no free address"),
    "AddressPending": pending("the address is held elsewhere"),
    "NoPoolSelects": pending("pool pool selects the label io.cilium/lb=home, which it lacks"),
    "PoolConflict": put(f"{POOL}/status/conditions/LAST",
                        condition("cilium.io/PoolConflict", "True", "overlaps")),
    "PoolNearlyFull": put(f"{POOL}/status/conditions/0/message", "9"),
    "AddressConflict": put(f"{SERVICE}/status/conditions/LAST",
                           condition("cairn.io/AddressConflict", "True", "aa:bb has it")),
    "ForeignClass": both(pending(""), put(f"{SERVICE}/spec/loadBalancerClass", "other.io/lb")),
    "OperatorBehind": both(pending(""), put(f"{SERVICE}/status/conditions", [])),
    "NobodyAnnounces": both(put("nodes/n1/speaker/announced", []),
                            put("nodes/n2/speaker/announced", []),
                            put("router/paths", []), put("router/routes", [])),
    "WrongAsn": both(down(""), put(f"{SESSION}/asn", 65000)),
    "WrongPassword": both(down("connection timed out"),
                          put("router/grew", {"TCP MD5 mismatches": 3})),
    "HoldTimer": down("hold timer expired"),
    "HoldTimeRefused": down("OPEN message error: unacceptable hold time"),
    "PeerRefuses": down("connection refused"),
    "PeerUnreachable": down("connection timed out"),
    "PeerClosed": down("cease: administrative shutdown"),
    "PrefixLimit": down("cease: maximum number of prefixes reached"),
    "SessionDown": down(""),
    "TtlSecurity": down("packets with a TTL below 255"),
    "SpeakerDown": put(f"{N1}/speaker/error", "connection refused"),
    "BgpConflict": put("cluster/objects/CiliumBGPPeeringPolicy/LAST", {
        "kind": "CiliumBGPPeeringPolicy", "metadata": {"name": "p"},
        "spec": {"nodeSelector": {}, "virtualRouters": []},
        "status": {"conditions": [condition("cairn.io/Conflict", "True", "two ASNs")]}}),
    "SelectsNoNode": put("cluster/objects/CiliumBGPPeeringPolicy/LAST", {
        "kind": "CiliumBGPPeeringPolicy", "metadata": {"name": "p"},
        "spec": {"nodeSelector": {}, "virtualRouters": []},
        "status": {"conditions": [condition("cairn.io/Selected", "False", "0 of 2")]}}),
    "PasswordMissing": unhonoured("peer p: Secret key in kube-system has no key `password`"),
    "RouteMissing": both(put("router/paths/0/valid", value=False),
                         put("router/paths/0/reason", "next hop unreachable")),
    "RouteStale": put("router/paths/LAST", {"prefix": "192.168.1.101/32",
                                            "gateway": "192.168.1.10"}),
    "RouteFiltered": drop("router/paths/0"),
    "MultipathOff": put("router/routes/0/gateways", ["192.168.1.10"]),
    "NotInstalled": put("router/routes", []),
    "RouterUnforwarding": put("router/settings/0/value", "0"),
    "NodeNotReady": put("cluster/objects/Node/0/status/conditions/0/status", "False"),
    "ForwardingOff": put(f"{N1}/settings/0/value", "0"),
    "SettingDrifted": put(f"{N1}/settings/1/value", "1"),
    "UplinkDown": put(f"{N1}/links/0/carrier", value=False),
    "MtuUneven": both(put(f"{N1}/links/0/mtu_bytes", 1400),
                      put(f"{N1}/endpoints/0/mtu_bytes", 1400)),
    "PodMtuTooLarge": put(f"{N1}/endpoints/0/mtu_bytes", 9000),
    "MtuBlackHole": both(put(f"{N1}/paths/0/large", value=False),
                         put(f"{N1}/paths/0/passed_bytes", 1400)),
    "PeerSilent": both(put(f"{N1}/paths/0/small", value=False),
                       put(f"{N1}/paths/0/large", value=False)),
    "OverlaySilent": put(f"{N1}/paths/LAST", {"peer": "pods of n2", "address": "10.244.2.2"}),
    "NeighbourFailed": put(f"{N1}/neighbours/0/state", "failed"),
    "DuplicateAddress": put(f"{N1}/neighbours/0/mac", "aa:other"),
    "ClockSkew": put(f"{N1}/now_at", 1300.0),
    "ClockFree": put(f"{N1}/clock_synchronised", value=False),
    "MemoryLow": put(f"{N1}/memory_free_bytes", 10),
    "RouteToNodeMissing": drop(f"{N1}/routes/1"),
    "ProgramDetached": put(f"{N1}/hooks/0/attached", value=False),
    "ProgramReplaced": put(f"{N1}/hooks/0/program", "tracer"),
    "PinMissing": drop(f"{N1}/hooks/0"),
    "PodProgramMissing": drop(f"{N1}/hooks/4"),
    "ServiceDrift": put(f"{N1}/agent/drift", [
        {"kind": "service", "subject": "192.168.1.100:80/TCP", "what": "the map lacks it"}]),
    "MapFull": put(f"{N1}/maps/0/entries", 1000),
    "MapNearlyFull": put(f"{N1}/maps/0/entries", 950),
    "WritesFail": put(f"{N1}/agent/failures", {"services": ["192.168.1.100: map is full"]}),
    "AnsweredTwice": both(
        put(f"{N1}/agent/answered", ["192.168.1.100"]),
        put("nodes/n2/agent/answered", ["192.168.1.100"])),
    "NoPodMatches": put(f"{SERVICE}/spec/selector", {"app": "wbe"}),
    "NoReadyPod": put("cluster/objects/EndpointSlice/0/endpoints/0/conditions",
                      {"ready": False, "serving": False, "terminating": False}),
    "WrongTargetPort": put(f"{SERVICE}/spec/ports/0/targetPort", 8080),
    "PortNameUnknown": put(f"{SERVICE}/spec/ports/0/targetPort", "http"),
    "BackendDead": lambda facts: eject(facts),
    "CrashLoop": put(f"{POD}/status/containerStatuses/0", waiting("web", "CrashLoopBackOff")),
    "PodWithoutNetwork": put(f"{POD}/status/podIP", ""),
    "ImageMissing": put(f"{POD}/status/containerStatuses/0", waiting("web", "ImagePullBackOff")),
    "Unschedulable": put(f"{POD}/status/conditions/LAST",
                         condition("PodScheduled", "False", "0/2 nodes")),
    "PodNotReady": put(f"{POD}/status/conditions/0", condition("Ready", "False", "probe fails")),
    "ClusterDnsSilent": put(f"{N1}/dns/0", {"server": "10.96.0.10", "error": "no answer"}),
    "ClusterDnsRefuses": put(f"{N1}/dns/0/code", "REFUSED"),
    "DnsProxyDown": put(f"{N1}/proxies/0/error", "connection refused"),
    "DnsProxyIdle": put(f"{N1}/proxies/0", {"name": "dns", "error": "refused", "needed": 0}),
    "EnvoyDown": put(f"{N1}/proxies/1/error", "connection refused"),
    "AgentDown": put(f"{AGENT}/status/containerStatuses/0", waiting("agent", "CrashLoopBackOff")),
    "ContainerDown": put(f"{AGENT}/status/containerStatuses/1",
                         waiting("speaker", "CrashLoopBackOff")),
    "AgentSilent": put(f"{N1}/agent/error", "no answer"),
    "AgentMissing": drop(AGENT),
    "NodeUnasked": both(drop(N1), put("unasked", {"n1": "no answer within 4 s"})),
    "NotReconciling": both(put(f"{N1}/agent/healthy", value=False),
                           put(f"{N1}/agent/reason", "netlink refuses")),
    "ApiPartition": put(f"{N1}/agent/watches/0",
                        {"resource": "services", "heard_s": 60.0, "error": "timed out"}),
    "VersionSkew": put(f"{N1}/agent/version", "2"),
    "OperatorDown": put("cluster/objects/Pod/3/status/conditions/0/status", "False"),
    "EventsLost": put(f"{N1}/agent/events_lost", 7),
    "DiskFull": put(f"{N1}/disks/0/free_bytes", 10),
    "DiskNearlyFull": put(f"{N1}/disks/0/free_bytes", 50),
    "L2SelectsNothing": put("cluster/objects/CiliumL2AnnouncementPolicy/0/status/conditions/0",
                            condition("cairn.io/Selected", "False", "selects no node")),
    "AnswererGone": put("cluster/objects/CiliumNode/LAST", {
        "kind": "CiliumNode", "metadata": {"name": "n3"},
        "status": {"l2": {"answered": ["192.168.1.100"]}}}),
    "NotAnnounced": put(f"{SESSION}/not_announced", {"no IPv6 was negotiated": "2"}),
    "SessionFlaps": both(put(f"{SESSION}/ended", 4), put(f"{SESSION}/life_s", 80.0),
                         put(f"{SESSION}/uptime_s", 30.0),
                         put(f"{SESSION}/last_error", "hold timer expired")),
    "UplinkGone": put(f"{N1}/uplink", ""),
    "OneFamilyOnly": put(f"{N1}/paths/LAST", {
        "peer": "n2", "address": "fd00::2", "size_bytes": 1500}),
    "VipDrift": put(f"{N1}/vips", []),
    "EndpointDrift": put(f"{N1}/wired", {}),
    "NotProven": put(f"{N1}/agent/unproven", {"default/web": "no packet was seen"}),
    "PolicyTrouble": put(f"{N1}/agent/troubles", ["map policy_peers is full"]),
    "PolicyBehind": put(f"{N1}/agent/policy_marks", {}),
    "PodClosed": put(f"{N1}/wired/10.244.1.2", value=True),
    "DnsProxyRefuses": both(put(f"{N1}/proxies/0/refused", 3), put(f"{N1}/proxies/0/asked", 9)),
    "CertificateEnded": put("certificates/0/ends_at", 900.0),
    "CertificateEnding": put("certificates/1/ends_at", 1000.0 + 6 * 86400),
    "CertificateEndsSoon": put(f"{N1}/certificates/0/ends_at", 1000.0 + 29 * 86400),
    "CertificateEarly": put("certificates/0/begins_at", 5000.0),
    "CertificateName": put("certificates/0/names", ["kubernetes"]),
    "CertificateUnreadable": put("certificates/1", {"name": "x", "error": "no such file"}),
    "HistoryStopped": put("relay/stopped", "stopped since noon: no space left"),
    "RelayDown": put("relay", {"error": "its pod does not run"}),
    "HistoryBehind": put("relay/missed", 12),
    "HistoryDamaged": put("relay/corrupt", ["flows-1.parquet: no magic bytes"]),
}  # fmt: skip
"""One change for each kind that a check of the doctor finds."""

CHANGES |= {
    "AddressTwice": put("cluster/objects/Service/LAST", {
        "kind": "Service", "metadata": {"name": "other", "namespace": "default"},
        "spec": {"type": "LoadBalancer", "selector": {}, "ports": [{"port": 80}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.168.1.100"}]},
                   "conditions": [condition("cilium.io/IPAMRequestSatisfied", "True")]}}),
    "BgpIgnored": put("cluster/objects/CiliumBGPNodeConfig/0/status", {"conditions": [
        condition("cairn.io/Honoured", "False", "peer a: no Secret; 2 prefixes are not announced")
    ]}),
    "KernelOld": put(f"{N1}/missing", ["the kernel has no tcx hooks"]),
    "DropsNow": both(put(f"{N1}/agent/drops", {"DROP_CONNTRACK_FULL": 7}),
                     put(f"{N1}/agent/drops_window_s", 15.0)),
    "XdpOff": put("cluster/objects/CiliumNode/0/metadata/annotations/cairn.io~xdp",
                  "not attached, all at tcx: no driver"),
    "ClusterDnsMissing": drop("cluster/objects/Service/1"),
    "AgentRestarts": put(f"{AGENT}/status/containerStatuses/0", {
        "name": "agent", "restartCount": 4, "state": {"running": {}},
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": "1970-01-01T00:10:00Z"}}}),
    "RouterUnasked": put("router", {"skipped": "no lab runs here"}),
}  # fmt: skip

DOCTORS = [kind for kind in KINDS if int(kind.code[-2:]) < 50 and kind.cause != "{reason}"]


def look(plain: Plain) -> list[str]:
    return [finding.kind.name for finding in findings_of(examine(facts_of(plain)))]


def test_healthy_facts_have_no_finding() -> None:
    looked = examine(facts_of(healthy()))
    assert findings_of(looked) == []
    assert is_healthy([])
    assert all(
        one.bench.checked
        for one in looked
        if one.check.what not in ("peering policies", "ARP and ND")
    )


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_finding_comes_and_goes(name: str) -> None:
    plain = healthy()
    before = copy.deepcopy(plain)
    CHANGES[name](plain)
    found = findings_of(examine(facts_of(plain)))
    heaviest = [one for one in found if one.kind.weight == found[0].kind.weight]
    assert heaviest[0].kind.name == name, [one.kind.name for one in found]
    for text in (found[0].cause, found[0].mend):
        assert "\n" not in text
        assert text
    assert "<" not in found[0].mend or "<pod>" in found[0].mend, found[0].mend
    if found[0].kind.mend != "kubectl edit {what}":
        check_command(found[0].mend.partition(" (")[0].replace("<pod>", "pod"))
    assert "<" not in found[0].cause, found[0].cause
    assert look(before) == []


WEB_2 = {
    "kind": "Pod",
    "metadata": {"name": "web-2", "namespace": "default", "labels": {"app": "other"}},
    "spec": {"nodeName": "n1", "containers": []},
    "status": {"phase": "Running", "podIP": "10.244.1.7"},
}
MORE: tuple[tuple[str, str, Change], ...] = (
    ("VipDrift", "192.168.1.109, announced by its speaker",
     both(put("nodes/n2/speaker/announced/LAST", {"prefix": "192.168.1.109/32"}),
          put("router/paths/LAST", {"prefix": "192.168.1.109/32", "gateway": "192.168.1.11"}),
          put("router/routes/LAST", {"prefix": "192.168.1.109/32",
                                     "gateways": ["192.168.1.11"]}))),
    ("EndpointDrift", "10.244.1.9 is in the map, and no pod has it",
     put(f"{N1}/wired/10.244.1.9", value=False)),
    ("EndpointDrift", "nobody wired pod default/web-2 (10.244.1.7)",
     put("cluster/objects/Pod/LAST", WEB_2)),
    ("PolicyBehind", "others of namespace default",
     put("cluster/objects/CiliumNetworkPolicy/0/metadata/generation", 2)),
    ("PolicyBehind", "others of the whole cluster",
     put("cluster/objects/CiliumClusterwideNetworkPolicy", [
         {"kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "all", "generation": 1},
          "spec": {"endpointSelector": {"matchLabels": {"app": "web"}},
                   "ingress": [{"fromEntities": ["world"]}]}}])),
    ("PolicyBehind", "waits for a proxy", put(f"{N1}/agent/policy_waiting", 1)),
    ("VersionSkew", "speaker of n1 run 2", put(f"{N1}/speaker/version", "2")),
    ("VersionSkew", "operator of n1 run 2", put(f"{N1}/versions/operator", "2")),
    ("ClockSkew", "the API server is 60.0 s ahead of", put("cluster/now_at", 1060.0)),
    ("ClockSkew", "the router is 60.0 s behind", put("router/now_at", 940.0)),
    ("ClockSkew", "this machine is 60.0 s behind",
     lambda facts: facts.update(asked_at=dict.fromkeys(facts["asked_at"], 940.0))),
    ("MtuBlackHole", "passed 1400 octets", put(f"{N1}/paths/LAST", {
        "peer": "n2", "address": "fd00::2", "small": True, "size_bytes": 1500,
        "passed_bytes": 1400})),
    ("RouteToNodeMissing", "fd00:2::/64",
     put("cluster/objects/CiliumNode/1/spec/ipam/podCIDRs/LAST", "fd00:2::/64")),
    ("AnswererGone", "it is not ready",
     both(put("cluster/objects/CiliumNode/1/status/l2/answered", ["192.168.1.100"]),
          drop("nodes/n2"), put("cluster/objects/Node/1/status/conditions/0/status", "False"))),
    ("PeerUnreachable", "timed out",
     both(down("connection timed out"), put("router/counters", {"TCPMD5NotFound": 6}))),
    ("WrongPassword", "counts 6 under 'TCPMD5Unexpected'",
     both(down(""), put("router/counters", {"TCPMD5Unexpected": 6}),
          put(f"{SESSION}/port_answer", "connected"))),
    ("CertificateEnded", "authority in /ca.crt on n1", put(f"{N1}/certificates/0/ends_at", 9.0)),
)  # fmt: skip
"""Other ways to the same findings, and words that stand in them."""


@pytest.mark.parametrize(("name", "words", "change"), MORE)
def test_finding_comes_by_other_ways(name: str, words: str, change: Change) -> None:
    plain = healthy()
    change(plain)
    found = [one for one in findings_of(examine(facts_of(plain))) if one.kind.name == name]
    assert found
    assert words in " ".join((found[0].cause, *found[0].evidence))


def test_a_session_that_outlives_those_before_it_flaps_no_more() -> None:
    plain = healthy()
    CHANGES["SessionFlaps"](plain)
    put(f"{SESSION}/uptime_s", 200.0)(plain)
    assert look(plain) == []


def test_answers_of_a_dead_node_are_not_a_second_answer() -> None:
    plain = healthy()
    put("cluster/objects/CiliumNode/1/status/l2/answered", ["192.168.1.100"])(plain)
    put("cluster/objects/Node/1/status/conditions/0/status", "False")(plain)
    put(f"{N1}/agent/answered", ["192.168.1.100"])(plain)
    drop("nodes/n2")(plain)
    assert "AnsweredTwice" not in look(plain)
    assert "AnswererGone" not in look(plain)


def eject(plain: Plain) -> None:
    """Have node n1 say that the Service's pod does not serve."""
    annotations = plain["cluster"]["objects"]["CiliumNode"][0]["metadata"]["annotations"]
    where = L4Address(parse_address("10.244.1.2"), Protocol.TCP, 80)
    annotations[EJECTED] = spell_ejections({where: "refuses"})


def test_every_kind_of_the_doctor_has_its_pair() -> None:
    assert {kind.name for kind in DOCTORS} == CHANGES.keys()


def test_registry_is_sound() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS) == len(BY_NAME)
    for kind in KINDS:
        assert kind.code.startswith("CRN-")
        assert 1 <= kind.area <= 9
    assert [kind.code for kind in DOCTORS] == sorted(kind.code for kind in DOCTORS)
    assert len({check.what for check in CHECKS}) == len(CHECKS)
    assert set(AREAS) == {check.area for check in CHECKS}


def test_notes_are_healthy() -> None:
    plain = healthy()
    CHANGES["ClockFree"](plain)
    found = findings_of(examine(facts_of(plain)))
    assert [one.kind.weight for one in found] == [Weight.NOTE]
    assert is_healthy(found)
