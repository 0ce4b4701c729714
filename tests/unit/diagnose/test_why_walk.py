"""Walks: every cause that a step can find is named first, and none where all is well."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_lines import check_command
from walked import (
    NODES,
    ROUTER,
    VIP,
    Objects,
    every_node,
    host,
    node,
    obj,
    pod,
    router,
    service,
    step,
    walked,
)

from cairn.diagnose.findings import BY_NAME, KINDS
from cairn.diagnose.kinds.walk import WALK
from cairn.diagnose.policy.layer7 import Request
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.parts import Lookup, Neighbour, Peer, Probe, RouterPath, SeenFlow
from cairn.diagnose.why.question import NoSuchParty, split_target
from cairn.diagnose.why.step import Outcome
from cairn.diagnose.why.walk import STEPS, Walk
from cairn.net import Protocol

Change = Callable[[Objects], object]
Know = Callable[[Facts], Facts]
PENDING = "cilium.io/IPAMRequestSatisfied"


def same(known: Facts) -> Facts:
    return known


def nothing(_: Objects) -> None:
    return None


def spec(name: str, **fields: Any) -> Change:
    return lambda held: held[name]["spec"].update(fields)


def told(name: str, kind: str, status: str, reason: str, message: str) -> Change:
    """Return the change that gives an object this one condition."""
    condition = {"type": kind, "status": status, "reason": reason, "message": message}
    return lambda held: held[name].setdefault("status", {}).update(conditions=[condition])


def pending(reason: str, message: str) -> Change:
    def change(held: Objects) -> None:
        held["Service/web"]["status"] = {}
        told("Service/web", PENDING, "False", reason, message)(held)

    return change


def both(*changes: Change) -> Change:
    def change(held: Objects) -> None:
        for one in changes:
            one(held)

    return change


def unready(waiting: dict[str, str] | None, **more: Any) -> Change:
    """Return the change that leaves no pod ready."""

    def change(held: Objects) -> None:
        for number in (1, 2):
            status = held[f"Pod/web-{number}"]["status"]
            status["conditions"] = [{"type": "Ready", "status": "False"}]
            state = {"name": "main", "ready": False, "restartCount": 4}
            if waiting:
                state["state"] = {"waiting": waiting}
            status.update(containerStatuses=[state], **more)
        for end in held["EndpointSlice/web-1"]["endpoints"]:
            end["conditions"] = {"ready": False}

    return change


def one_unready(held: Objects) -> None:
    held["Pod/web-2"]["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    held["EndpointSlice/web-1"]["endpoints"][1]["conditions"] = {"ready": False}


def without(*names: str) -> Change:
    return lambda held: [held.pop(name) for name in names]


def no_match(held: Objects) -> None:
    held["Service/web"]["spec"]["selector"] = {"app": "wep"}
    held["EndpointSlice/web-1"]["endpoints"] = []


def named_port(held: Objects) -> None:
    held["Service/web"]["spec"]["ports"][0]["targetPort"] = "htpt"
    held["EndpointSlice/web-1"]["ports"] = []


def dead_backend(reason: str) -> Change:
    def change(held: Objects) -> None:
        for number, name in enumerate(NODES, 1):
            notes = held[f"CiliumNode/{name}"]["metadata"]["annotations"]
            notes["cairn.io/ejected"] = f"10.244.{number}.1:8080/TCP {reason}"

    return change


def node_down(*names: str) -> Change:
    return both(
        *(
            told(f"Node/{name}", "Ready", "Unknown", "NodeStatusUnknown", "no word")
            for name in names
        )
    )


def down(known: Facts, answer: str = "", error: str = "", **more: Any) -> Facts:
    """Return facts in which no node has a session."""
    peer = Peer(ROUTER, "active", 64512, 64512, error, answer)
    return router(every_node(known, peers=(peer,), routes=()), sessions=(), paths=(), **more)


def untold(known: Facts, why: str) -> Facts:
    """Return facts in which sessions are up and no peer is told everything."""
    return every_node(known, peers=(Peer(ROUTER, "established", 64512, 64512, untold=why),))


def deny(selects: dict[str, str], way: str) -> Change:
    policy = obj("NetworkPolicy", "default", "closed", apiVersion="networking.k8s.io/v1")
    policy["apiVersion"] = "networking.k8s.io/v1"
    policy["spec"] = {"podSelector": {"matchLabels": selects}, "policyTypes": [way]}
    return lambda held: held.update({"NetworkPolicy/closed": policy})


def instances(**fields: Any) -> Change:
    def change(held: Objects) -> None:
        for name in NODES:
            for instance in held[f"CiliumBGPNodeConfig/{name}"]["spec"]["bgpInstances"]:
                instance.update(fields)
            held[f"CiliumBGPNodeConfig/{name}"]["status"] = {}

    return change


CASES: list[tuple[str, str, str, str, Change, Know]] = [
    # cause, step, client, target, change, know
    ("NoSuchPort", "Service", "client-1", "default/web:81", nothing, same),
    ("InsideOnly", "Service", "client-1", "10.96.0.1:80", nothing, same),
    ("NoPodMatches", "selector", "client-1", "default/web", no_match, same),
    ("PortNameUnknown", "endpoints", "client-1", "default/web", named_port, same),
    ("NoEndpoints", "endpoints", "client-1", "default/web",
     both(spec("Service/web", selector={}), without("EndpointSlice/web-1")), same),
    ("PodNotReady", "readiness", "client-1", "default/web", unready(None), same),
    ("RouterUnforwarding", "route", "client-1", "default/web", nothing,
     lambda f: router(f, settings={"net.ipv4.ip_forward": "0"})),
    ("CrashLoop", "readiness", "client-1", "default/web",
     unready({"reason": "CrashLoopBackOff"}), same),
    ("ImageMissing", "readiness", "client-1", "default/web",
     unready({"reason": "ImagePullBackOff"}), same),
    ("Unschedulable", "readiness", "client-1", "default/web",
     unready(None, phase="Pending"), same),
    ("NodeNotReady", "readiness", "client-1", "default/web",
     both(unready(None), node_down("node-1", "node-2")), same),
    ("BackendDead", "readiness", "client-1", "default/web",
     dead_backend("no answer in 1 s"), same),
    ("WrongTargetPort", "readiness", "client-1", "default/web",
     dead_backend("connection refused"), same),
    ("NoPoolSelects", "pool", "client-1", "default/web", pending(
        "no_pool", "pool pool selects the label a=b, which the Service lacks; "
        "kubectl label service -n default web a=b"), same),
    ("PoolExhausted", "pool", "client-1", "default/web", pending(
        "out_of_ips", "pool pool is exhausted: 12 of 12 in use; add a block"), same),
    ("NoPool", "pool", "client-1", "default/web", both(
        pending("no_pool", "no CiliumLoadBalancerIPPool exists; create one"),
        without("CiliumLoadBalancerIPPool/pool")), same),
    ("AddressPending", "pool", "client-1", "default/web", pending(
        "no_pool", "pool pool is disabled; set spec.disabled: false"), same),
    ("AddressConflict", "pool", "client-1", "default/web", pending(
        "already_allocated", f"{VIP} is answered for by 02:00:00:00:00:99; free it"), same),
    ("ForeignClass", "pool", "client-1", "default/web", both(
        pending("", ""), spec("Service/web", loadBalancerClass="other/class")), same),
    ("OperatorBehind", "pool", "client-1", "default/web", pending("", ""), same),
    ("OperatorDown", "pool", "client-1", "default/web",
     both(pending("", ""), without("Pod/cairn-operator")), same),
    ("AddressConflict", "address", "client-1", "default/web", told(
        "Service/web", "cairn.io/AddressConflict", "True", "x", f"{VIP} is at 02:99 too"), same),
    ("AddressConflict", "address", "client-1", "default/web", nothing,
     lambda f: router(f, neighbours={VIP: Neighbour("02:00:00:00:00:99", "reachable")})),
    ("AddressUnheld", "address", "client-1", "192.168.1.105", nothing, same),
    ("SourceRange", "address", "client-1", "default/web",
     spec("Service/web", loadBalancerSourceRanges=["10.9.0.0/16"]), same),
    ("NodeNotReady", "node", "default/shop", "default/web", node_down("node-2"), same),
    ("NoSession", "announcement", "client-1", "default/web",
     without("CiliumBGPPeeringPolicy/peering", "CiliumBGPNodeConfig/node-1",
             "CiliumBGPNodeConfig/node-2"), same),
    ("SelectsNoNode", "announcement", "client-1", "default/web", both(
        without("CiliumBGPNodeConfig/node-1", "CiliumBGPNodeConfig/node-2"),
        told("CiliumBGPPeeringPolicy/peering", "cairn.io/Selected", "False", "x", "0 of 2")),
     same),
    ("NobodyAnnounces", "announcement", "client-1", "default/web",
     instances(serviceSelector={"matchLabels": {"a": "b"}}),
     lambda f: every_node(f, routes=())),
    ("PeerRefuses", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "refused")),
    ("PeerUnreachable", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "no answer")),
    ("WrongAsn", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "connected", "sent NOTIFICATION: open message: bad peer as")),
    ("HoldTimer", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "connected", "hold timer expired")),
    ("PeerUnreachable", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "no answer", "hold timer expired")),
    ("PasswordMissing", "session", "client-1", "default/web",
     told("CiliumBGPNodeConfig/node-1", "cairn.io/Honoured", "False", "NotHonoured",
          "peer p: Secret key in kube-system has no key `password`: create it"),
     lambda f: down(f, "no answer")),
    ("HoldTimeRefused", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "connected", "open message: unacceptable hold time")),
    ("PrefixLimit", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "connected", "cease: maximum number of prefixes reached")),
    ("WrongPassword", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "no answer", grew={"TCPMD5Failure": 1})),
    ("WrongPassword", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "connected", counters={"TCPMD5Unexpected": 7})),
    ("PeerUnreachable", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "no answer", counters={"TCPMD5Failure": 7})),
    ("SpeakerDown", "session", "client-1", "default/web", nothing,
     lambda f: every_node(down(f), speaker="connection refused")),
    ("SessionDown", "session", "client-1", "default/web", nothing,
     lambda f: down(f, "connected")),
    ("RouteFiltered", "route", "client-1", "default/web", nothing,
     lambda f: router(f, paths=(), gateways=(), prefix="")),
    ("NotAnnounced", "route", "client-1", "default/web", nothing,
     lambda f: router(untold(f, "no IPv4 was negotiated"), paths=(), gateways=(), prefix="")),
    ("RouteMissing", "route", "client-1", "default/web", nothing,
     lambda f: router(f, gateways=(), prefix="", paths=tuple(
         replace(p, valid=False, best=False, reason="its next hop is not reachable")
         for p in (f.router.paths if f.router else ())))),
    ("NotInstalled", "route", "client-1", "default/web", nothing,
     lambda f: router(f, gateways=(), prefix="0.0.0.0/0")),
    ("RouteStale", "route", "client-1", "default/web", nothing,
     lambda f: router(f, gateways=("192.168.1.77",))),
    ("NeighbourFailed", "ARP/ND", "client-1", "default/web", nothing,
     lambda f: router(f, neighbours={a: Neighbour("", "failed") for a in NODES.values()})),
    ("AnsweredByNobody", "ARP/ND of the address", "client-2", "default/web",
     lambda held: held["CiliumNode/node-1"].update(status={}), lambda f: host(f, gateway="")),
    ("NeighbourFailed", "ARP/ND of the address", "client-2", "default/web", nothing,
     lambda f: host(f, gateway="", neighbours={VIP: Neighbour("", "incomplete")})),
    ("UplinkDown", "client", "client-1", "default/web", nothing,
     lambda f: host(f, down="eth0")),
    ("NoRouteAtClient", "client", "client-1", "default/web", nothing,
     lambda f: host(f, routed=False)),
    ("GatewaySilent", "client", "client-1", "default/web", nothing,
     lambda f: host(f, neighbours={"192.168.50.1": Neighbour("", "failed")})),
    ("ServiceDrift", "data plane", "client-1", "default/web", nothing,
     lambda f: every_node(f, served=False)),
    ("ServiceDrift", "data plane", "client-1", "default/web", nothing,
     lambda f: every_node(f, shares={"10.244.1.1:8080": 251})),
    ("HandOverUnknown", "hand-over", "client-1", "default/web", lambda held: [
        held[f"CiliumNode/{n}"]["metadata"]["annotations"].pop("cairn.io/uplink-mac")
        for n in NODES], same),
    ("PolicyIsolates", "policy", "default/shop", "default/web",
     deny({"app": "web"}, "Ingress"), same),
    ("PolicyIsolates", "policy", "default/shop", "default/web",
     deny({"app": "shop"}, "Egress"), same),
    ("WrongTargetPort", "application", "client-1", "default/web", nothing,
     lambda f: node(node(f, "node-1", tried={"10.244.1.1:8080": "connection refused"}),
                    "node-2", tried={"10.244.2.1:8080": "connection refused"})),
    ("ApplicationSilent", "application", "client-1", "default/web", nothing,
     lambda f: node(node(f, "node-1", tried={"10.244.1.1:8080": "no answer"}),
                    "node-2", tried={"10.244.2.1:8080": "no answer"})),
    ("ApplicationRefuses", "application", "default/shop", "default/web-1:8080", nothing,
     lambda f: node(f, "node-1", tried={"10.244.1.1:8080": "connection refused"})),
    ("NameUnknown", "name", "client-1", "no.such.example:80", nothing,
     lambda f: replace(f, lookup=Lookup("192.0.2.53", (), "there is no such name"))),
    ("DnsUnanswered", "name", "client-1", "no.such.example:80", nothing,
     lambda f: replace(f, lookup=Lookup("192.0.2.53", (), "no answer within 1 s"))),
    ("ClusterDnsRefuses", "name", "default/shop", "no.such.example:80", nothing,
     lambda f: replace(f, lookup=Lookup("10.96.0.10", (), "the answer is REFUSED"))),
    ("NameDenied", "name policy", "default/shop", "no.such.example:80",
     both(deny({"app": "shop"}, "Egress"), lambda held: held.update(
         {"Service/kube-dns": service("kube-system", "kube-dns", "dns", 53, "10.96.0.10")})),
     same),
    ("ProbeFailed", "probe", "client-1", "default/web", nothing,
     lambda f: replace(f, probe=Probe("client-1", connected=False, said="no answer"))),
    ("MtuBlackHole", "probe", "client-1", "default/web", nothing,
     lambda f: replace(f, probe=Probe("client-1", connected=True, said="ok", large="small"))),
]  # fmt: skip


@pytest.mark.parametrize(
    ("cause", "at", "client", "target", "change", "know"),
    CASES,
    ids=[f"{case[0]}-{case[1]}-{number}" for number, case in enumerate(CASES)],
)
def test_the_cause_is_named_first(
    cause: str, at: str, client: str, target: str, change: Change, know: Know
) -> None:
    found = walked(client, target, change, know)
    assert found.cause is not None, found.sentence
    assert found.cause.kind is BY_NAME[cause], found.sentence
    assert found.findings[0] is found.cause
    assert step(found, at).outcome is Outcome.BROKEN
    assert not found.works
    check_words(found)


def check_words(found: Walk) -> None:
    """Fail if a sentence has a place that nothing filled."""
    for finding in found.findings:
        line = f"{finding.cause} {finding.mend}"
        assert not re.search(r"<[a-z_]+>", line), line
        assert "{" not in finding.cause, line
        if finding.kind.mend != "{mend}":
            check_command(finding.mend.partition(" (")[0])


@pytest.mark.parametrize(
    ("client", "target", "steps"),
    [
        ("client-1", "default/web", {"route": "in RIB and kernel", "session": "established"}),
        ("client-1", f"{VIP}:80", {"announcement": "announced by node-1, node-2"}),
        ("default/shop", "web.default.svc.cluster.local", {"readiness": "2 of 2 pods"}),
        ("default/shop", "default/web-1:8080", {"application": "10.244.1.1:8080"}),
        ("node-1", "svc/default/web", {"data plane": "2 backends on node-1"}),
        ("198.51.100.7", "default/web", {"policy": "no policy exists"}),
    ],
)
def test_nothing_is_wrong_where_all_is_well(
    client: str, target: str, steps: dict[str, str]
) -> None:
    found = walked(client, target)
    assert found.works
    assert found.findings == ()
    assert "nothing on the way is wrong" in found.sentence
    assert found.mend == ""
    for name, text in steps.items():
        assert text in step(found, name).evidence
    assert {one.outcome for one in found.steps} <= {Outcome.OK, Outcome.SKIPPED, Outcome.UNKNOWN}


def flapping(known: Facts) -> Facts:
    peer = Peer(ROUTER, "established", 64512, 64512, "hold timer expired", flaps=True)
    return every_node(known, peers=(peer,))


def half_a_route(known: Facts) -> Facts:
    first = NODES["node-1"]
    paths = tuple(
        RouterPath(f"{VIP}/32", a, a, valid=True, best=a == first) for a in NODES.values()
    )
    return router(known, paths=paths, gateways=(first,))


@pytest.mark.parametrize(
    ("finding", "at", "change", "know"),
    [
        ("FewReady", "readiness", one_unready, lambda f: every_node(
            f, shares={"10.244.1.1:8080": 251})),
        ("NodeNotReady", "node", node_down("node-2"), same),
        ("AgentDown", "node", without("Pod/cairn-2"), same),
        ("AgentSilent", "node", nothing, lambda f: node(f, "node-2", agent="no answer")),
        ("NodeUnasked", "node", nothing, lambda f: replace(
            f, nodes={"node-1": f.nodes["node-1"]}, silent={"node-2": "HTTP 500"})),
        ("PeerSilent", "node", nothing, lambda f: replace(
            f, nodes={"node-1": replace(f.nodes["node-1"], lost=(NODES["node-2"],))},
            silent={"node-2": "HTTP 500"})),
        ("HoldTimer", "session", nothing, flapping),
        ("SessionDown", "session", nothing, lambda f: node(
            f, "node-2", peers=(Peer(ROUTER, "active", 64512, 64512),))),
        ("MultipathOff", "route", nothing, half_a_route),
        ("RouteMissing", "route", nothing, lambda f: router(f, gateways=(NODES["node-1"],))),
        ("NeighbourFailed", "ARP/ND", nothing, lambda f: router(
            f, neighbours={NODES["node-2"]: Neighbour("", "failed")})),
        ("ServiceDrift", "data plane", nothing, lambda f: node(f, "node-2", served=False)),
        ("AsymmetricRoute", "way back", nothing, lambda f: node(f, "node-2", back="192.168.1.9")),
        ("NodesDisagree", "Maglev", nothing, lambda f: node(f, "node-2", digest="other")),
        ("ApplicationSilent", "application", nothing, lambda f: node(
            f, "node-2", tried={"10.244.2.1:8080": "no answer"})),
    ],
)  # fmt: skip
def test_what_is_wrong_and_does_not_keep_the_client_away(
    finding: str, at: str, change: Change, know: Know
) -> None:
    found = walked(change=change, know=know)
    assert found.works, found.sentence
    assert found.cause is None
    assert finding in [one.kind.name for one in found.findings], found.sentence
    assert step(found, at).outcome is Outcome.WARN
    check_words(found)


def test_a_probe_that_fails_makes_the_first_warning_the_cause() -> None:
    probe = Probe("client-1", connected=False, said="no answer")
    found = walked(know=lambda f: replace(node(f, "node-2", served=False), probe=probe))
    assert found.cause is not None
    assert found.cause.kind is BY_NAME["ServiceDrift"]
    assert step(found, "probe").follows == "data plane"
    assert not found.works


def test_what_follows_from_the_cause_is_told_as_that() -> None:
    found = walked(change=no_match, know=lambda f: every_node(f, routes=()))
    assert step(found, "endpoints").follows == "selector"
    assert found.findings[0].kind.name == "NoPodMatches"


@pytest.mark.parametrize(
    ("at", "know"),
    [
        ("client", lambda f: replace(f, host=None, host_why="it is elsewhere")),
        ("route", lambda f: replace(f, router=None, router_why="nobody asked")),
        ("data plane", lambda f: replace(f, nodes={})),
        ("application", lambda f: every_node(f, tried={})),
    ],
)
def test_what_was_not_looked_at_is_never_told_as_well(at: str, know: Know) -> None:
    found = walked(know=know)
    assert step(found, at).outcome is Outcome.UNKNOWN
    assert at in found.sentence


def test_a_session_that_only_the_node_has_is_told() -> None:
    known = walked  # the router has closed what the node still believes in

    def half(facts: Facts) -> Facts:
        assert facts.router is not None
        sessions = tuple(replace(s, state="Active") for s in facts.router.sessions)
        return router(facts, sessions=sessions)

    found = known(know=half)
    assert "the router says so" in step(found, "session").evidence


@pytest.mark.parametrize(
    ("client", "target", "said"),
    [
        ("client-1", "default/wep", "near: default/web"),
        ("client-9", "default/web", "near: client-"),
        ("client-1", "svc/default/wep", "no Service default/wep (near: default/web"),
        ("client-1", "wep.default.svc", "no Service default/wep"),
    ],
)
def test_who_does_not_exist_is_told_with_near_names(client: str, target: str, said: str) -> None:
    with pytest.raises(NoSuchParty, match=re.escape(said)):
        walked(client, target)


@pytest.mark.parametrize(
    ("text", "host_", "port", "protocol"),
    [
        ("192.0.2.1", "192.0.2.1", None, Protocol.TCP),
        ("192.0.2.1:53/udp", "192.0.2.1", 53, Protocol.UDP),
        ("[2001:db8::1]:80", "2001:db8::1", 80, Protocol.TCP),
        ("2001:db8::1", "2001:db8::1", None, Protocol.TCP),
        ("default/web:80", "default/web", 80, Protocol.TCP),
        ("default/udp", "default", None, Protocol.UDP),
        ("pod/default/web-1:8080", "pod/default/web-1", 8080, Protocol.TCP),
    ],
)
def test_targets_are_split(text: str, host_: str, port: int | None, protocol: Protocol) -> None:
    found = split_target(text)
    assert (found.host, found.port, found.protocol) == (host_, port, protocol)


@pytest.mark.parametrize("text", ["default/web:0", "default/web:x", "a:65536"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no port"):
        split_target(text)


RULES = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: rules, namespace: default}
spec: {endpointSelector: {matchLabels: {app: %s}}, %s}
"""
HTTP = """ingress: [{fromEntities: [all], toPorts: [{ports: [{port: "8080", protocol: TCP}],
  rules: {http: [{method: GET, path: /public}]}}]}]"""
NAMES = """egress: [{toEntities: [cluster]}, {toFQDNs: [{matchName: api.example.org}]}]"""


def rules(app: str, text: str) -> Change:
    policy = yaml.safe_load(RULES % (app, text))
    return lambda held: held.update({"CiliumNetworkPolicy/rules": policy})


def cluster_dns(held: Objects) -> None:
    held["Service/kube-dns"] = service("kube-system", "kube-dns", "dns", 53, "10.96.0.10")
    held["Pod/dns"] = pod("kube-system", "dns", "node-1", "10.244.1.53", {"app": "dns"})


@pytest.mark.parametrize(
    ("request_", "finding"),
    [(Request("GET", "/public"), ""), (Request("GET", "/private"), "RequestDenied")],
)
def test_a_request_is_judged_by_its_rules(request_: Request, finding: str) -> None:
    found = walked("default/shop", change=rules("web", HTTP), request=request_)
    assert (found.cause.kind.name if found.cause else "") == finding
    assert step(found, "proxy").outcome is Outcome.OK
    check_words(found)


def test_a_proxy_that_is_down_is_the_cause() -> None:
    found = walked(
        "default/shop", change=rules("web", HTTP), know=lambda f: every_node(f, proxy="not there")
    )
    assert found.cause is not None
    assert found.cause.kind is BY_NAME["EnvoyDown"]
    check_words(found)


def test_a_rule_that_denies_is_named() -> None:
    text = "ingress: [{fromEntities: [all]}], ingressDeny: [{fromEntities: [world]}]"
    found = walked("198.51.100.7", change=rules("web", text))
    assert found.cause is not None
    assert found.cause.kind is BY_NAME["PolicyDenies"]
    assert "ingressDeny[0]" in found.sentence
    check_words(found)


def learnt(known: Facts, **change: Any) -> Facts:
    lookup = Lookup("10.96.0.10", ("203.0.113.5",))
    return replace(every_node(known, **change), lookup=lookup)


@pytest.mark.parametrize(
    ("change", "outcome", "finding"),
    [
        ({"learnt": {"api.example.org": ("203.0.113.5",)}}, Outcome.OK, ""),
        ({"learnt": {}}, Outcome.WARN, "NameNotLearnt"),
        ({"learnt": {"api.example.org": ("203.0.113.9",)}}, Outcome.WARN, "NameNotLearnt"),
        ({"learnt": None}, Outcome.UNKNOWN, ""),
        ({"dns": "connection refused"}, Outcome.BROKEN, "DnsProxyDown"),
    ],
)
def test_names_of_rules_are_learnt(change: Any, outcome: Outcome, finding: str) -> None:
    found = walked(
        "default/shop",
        "api.example.org:443",
        both(rules("shop", NAMES), cluster_dns),
        lambda f: learnt(f, **change),
    )
    assert step(found, "name policy").outcome is Outcome.OK
    assert step(found, "names learnt").outcome is outcome
    assert [one.kind.name for one in found.findings] == ([finding] if finding else [])
    check_words(found)


def test_cluster_dns_without_a_pod_is_the_cause() -> None:
    service_alone = without("Pod/dns")
    found = walked("default/shop", "api.example.org:443", both(cluster_dns, service_alone))
    assert found.cause is not None
    assert found.cause.kind is BY_NAME["ClusterDnsSilent"]
    check_words(found)


def test_a_target_that_refuses_is_told() -> None:
    probe = Probe("default/shop", connected=False, said="bash: connect: Connection refused")
    found = walked("default/shop", "client-1:80", know=lambda f: replace(f, probe=probe))
    assert found.cause is not None
    assert found.cause.kind is BY_NAME["NothingListens"]
    check_words(found)


def test_local_traffic_policy_with_pods_where_nobody_peers() -> None:
    def change(held: Objects) -> None:
        held["Service/web"]["spec"]["externalTrafficPolicy"] = "Local"
        held["EndpointSlice/web-1"]["endpoints"].pop(0)
        held.pop("CiliumBGPNodeConfig/node-2")

    found = walked(change=change, know=lambda f: every_node(f, routes=()))
    assert found.cause is not None
    assert found.cause.kind is BY_NAME["LocalElsewhere"]
    check_words(found)


def test_a_client_of_the_nodes_subnet_that_sends_to_the_router() -> None:
    found = walked("client-2")
    assert [one.kind.name for one in found.findings] == ["AsymmetricRoute"]
    assert found.works
    check_words(found)


def flow(age_s: float, verdict: str = "FORWARDED", **more: Any) -> SeenFlow:
    """Return a flow that was seen so long before NOW."""
    values: dict[str, Any] = {"reason": "", "policy": "", "node": "node-2", "opener": 4000}
    return SeenFlow(verdict, **(values | more), at=NOW - age_s, age_s=age_s)


NOW = 2_000_000_000.0
BEGUN: dict[str, Any] = {"begins": True}
BY_RULE: dict[str, Any] = {"verdict": "DROPPED", "policy": "NetworkPolicy/default/p ingress[0]"}
UNREACHED: dict[str, Any] = {"verdict": "DROPPED", "reason": "no backend", "node": "node-1"}


@pytest.mark.parametrize(
    ("flows", "text"),
    [
        ([flow(3, opener=4001), flow(3), flow(9)], "2 connections forwarded, last 3 s ago"),
        ([flow(300)], "1 connection forwarded, last 5 min ago"),
        ([flow(70, **BY_RULE)],
         "dropped at node-2 by policy NetworkPolicy/default/p ingress[0] 70 s ago"),
        ([flow(7), flow(5, **UNREACHED), flow(6, **UNREACHED)],
         "dropped at node-1 for no backend 5 s ago (2 times); "
         "1 connection forwarded, last 7 s ago"),
        ([flow(1, verdict="DROPPED", reason="no route", forth=False)],
         "the answer was dropped at node-2 for no route 1 s ago"),
    ],
)  # fmt: skip
def test_what_was_seen_is_told_the_latest_first(flows: list[SeenFlow], text: str) -> None:
    found = walked(know=lambda f: replace(f, flows=tuple(flows)))
    assert step(found, "flows").evidence == f"was seen: {text}"
    assert found.findings == ()


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({"flows_reach_s": 999.0}, "never seen in the last 5 minutes"),
        ({"flows_reach_s": 12.0}, "never seen in the last 12 s"),
        ({"flows_why": "no agent tells"}, "not known: no agent tells"),
    ],
)
def test_what_was_never_seen_is_no_fault(known: dict[str, Any], text: str) -> None:
    found = walked(know=lambda f: replace(f, **known))
    assert step(found, "flows").evidence == text
    assert step(found, "flows").outcome is Outcome.SKIPPED
    assert found.works
    assert found.findings == ()


def dated(change: Change, ago_s: float) -> Change:
    """Return a change of policies that was made so long before NOW."""
    at = datetime.fromtimestamp(NOW - ago_s, UTC).isoformat()

    def dating(held: Objects) -> None:
        change(held)
        for one in held.values():
            if one["kind"] == "NetworkPolicy":
                one["metadata"]["creationTimestamp"] = at

    return dating


CLOSED = deny({"app": "web"}, "Ingress")


@pytest.mark.parametrize(
    ("change", "flows", "kind"),
    [
        (nothing, [flow(5, **BY_RULE)], "DroppedYet"),
        (nothing, [flow(90, **BY_RULE)], None),
        (nothing, [flow(5, **BY_RULE), flow(2, **BEGUN)], None),
        (dated(deny({"app": "shop"}, "Ingress"), 4), [flow(5, **BY_RULE)], None),
        (dated(deny({"app": "shop"}, "Ingress"), 60), [flow(5, **BY_RULE)], "DroppedYet"),
        (dated(CLOSED, 60), [flow(5, **BEGUN)], "ForwardedYet"),
        (dated(CLOSED, 60), [flow(5)], None),
        (dated(CLOSED, 60), [flow(5, **BEGUN), flow(1, **BY_RULE)], None),
        (dated(CLOSED, 4), [flow(5, **BEGUN)], None),
    ],
)
def test_what_was_seen_against_what_would_be(
    change: Change, flows: list[SeenFlow], kind: str | None
) -> None:
    found = walked("default/shop", "default/web", change, lambda f: replace(f, flows=tuple(flows)))
    names = {one.kind.name for one in found.findings}
    assert names & {"DroppedYet", "ForwardedYet"} == ({kind} if kind else set())
    if kind:
        assert step(found, "flows").outcome is Outcome.WARN
        check_words(found)


def test_every_kind_of_the_walk_has_a_test() -> None:
    assert len({kind.code for kind in KINDS}) == len(KINDS)
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    source = Path(__file__).read_text()
    assert [kind.name for kind in WALK if f'"{kind.name}"' not in source] == []
    assert {row.name for row in STEPS} >= {name for row in STEPS for name in row.after}
