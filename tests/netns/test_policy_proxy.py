"""Connections that a proxy judges: tc gives them to its sockets, in both directions."""

import contextlib
import socket
from collections.abc import Iterator

import pytest
from datapath_bed import (
    CLIENT,
    Bed,
    NodeBed,
    Pod,
    ask,
    batch,
    bed,
    mac_of,
    set_sysctl,
    wait_for,
)
from steering_bed import EGRESS, INGRESS, DatagramProxy, TransparentProxy, deliver_marked

from cairn.abi.structs import Point, PolicyAction, ServiceKey
from cairn.abi.verdicts import Verdict as Outcome
from cairn.apply.policy_maps import PolicyChange, PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.desired.policy import (
    DirectionPolicy,
    PortRange,
    Redirect,
    SubjectPolicy,
    Table,
    Verdict,
)
from cairn.kube.policy.rule import Direction, DnsRule, HttpRule, PolicyRef, RuleRef
from cairn.linux import namespace
from cairn.net import parse_address, parse_network

pytestmark = pytest.mark.root

TCP, UDP = 6, 17
OUT_PORT, IN_PORT, DNS_PORT = 15001, 15002, 15053
SERVING, SERVED, OTHERS = 1000, 1001, 1002
REF = PolicyRef("CiliumNetworkPolicy", "default", "l7")
OUT = Redirect(http=(HttpRule(method="GET"),))
IN = Redirect(http=(HttpRule(method="GET"),), direction=Direction.INGRESS)
DNS = Redirect(dns=(DnsRule(name="example.com"),))
PORTS = {OUT: OUT_PORT, IN: IN_PORT, DNS: DNS_PORT}
DEFAULT = Verdict(PolicyAction.DEFAULT_DENY, RuleRef(REF, ""))
ALLOW = Verdict(PolicyAction.ALLOW, RuleRef(REF, "egress[0]"))


def through(redirect: Redirect, port: int, protocol: int = TCP) -> Table:
    """Return a table that sends one port through a proxy, and denies the rest."""
    verdict = Verdict(PolicyAction.PROXY, RuleRef(REF, "egress[1]"), redirect)
    return Table(DEFAULT, (PortRange(protocol, port, port, verdict),))


class Cluster:
    """Two nodes with two pods each; the first node's have policies."""

    def __init__(self, made: Bed) -> None:
        self.bed = made
        self.node: NodeBed = made.nodes[0]
        self.one, self.two = self.node.pods
        self.far = made.nodes[1].pods[0]
        self.policies = PolicyMaps(
            self.node.maps, RuleNumbers({}), lambda redirect, rule: PORTS[redirect]
        )
        self.reset()
        for pod, identity in ((self.one, SERVING), (self.two, SERVED)):
            self.apply(endpoints={parse_address(pod.address): identity})
        self.apply(
            networks={
                parse_network(f"{self.node.address}/32"): 1,
                parse_network("0.0.0.0/0"): 9,
                parse_network("10.244.2.0/24"): OTHERS,
                parse_network(f"{self.one.address}/32"): SERVING,
                parse_network(f"{self.two.address}/32"): SERVED,
            }
        )

    def apply(self, **what: object) -> None:
        assert self.policies.apply(PolicyChange(**what)) == []  # type: ignore[arg-type]

    def isolate(self, *policies: SubjectPolicy) -> None:
        self.apply(subjects={policy.identity: policy for policy in policies})

    def reset(self) -> None:
        self.isolate(SubjectPolicy(SERVING), SubjectPolicy(SERVED))


@pytest.fixture(scope="module")
def whole() -> Iterator[Cluster]:
    with bed(nodes=2, pods=2) as made:
        for pod in made.pods:
            pod.serve_tcp(8080)
            pod.serve_udp(5353)
        deliver_marked(made.nodes[0].ns)
        made.publish(80, TCP, [made.nodes[0].pods[0]], target=8080)
        made.route_vip(made.nodes[0])
        yield Cluster(made)


@pytest.fixture
def cluster(whole: Cluster) -> Iterator[Cluster]:
    yield whole
    whole.reset()


def connect(source: str, pod: Pod) -> socket.socket:
    return namespace.call_in(source, socket.create_connection, (pod.address, 8080), 5)


def talk(source: str, pod: Pod) -> list[str]:
    with connect(source, pod) as conn:
        conn.settimeout(5)
        return ask(conn)


@contextlib.contextmanager
def proxy(cluster: Cluster, port: int, mark: int) -> Iterator[TransparentProxy]:
    made = TransparentProxy(cluster.node.ns, port, mark)
    try:
        yield made
    finally:
        made.close()


def test_what_a_pod_opens_goes_through_the_proxy(cluster: Cluster) -> None:
    """To a pod of another node, of the same one, and of the same one with a policy of its own."""
    one, two, far = cluster.one, cluster.two, cluster.far
    cluster.isolate(SubjectPolicy(SERVING, egress=DirectionPolicy(through(OUT, 8080))))
    with proxy(cluster, OUT_PORT, EGRESS) as middle:
        assert talk(one.ns, far) == [far.name, one.address, "6"]
        assert talk(one.ns, two) == [two.name, one.address, "6"]
        assert middle.accepted == [(one.address, far.address), (one.address, two.address)]
        cluster.isolate(
            SubjectPolicy(SERVED, ingress=DirectionPolicy(Table(DEFAULT), {SERVING: Table(ALLOW)}))
        )
        assert talk(one.ns, two) == [two.name, one.address, "6"]
        cluster.isolate(SubjectPolicy(SERVED, ingress=DirectionPolicy(Table(DEFAULT))))
        with pytest.raises(TimeoutError):
            talk(one.ns, two)


def test_what_reaches_a_pod_goes_through_the_proxy(cluster: Cluster) -> None:
    one, two, far = cluster.one, cluster.two, cluster.far
    cluster.isolate(SubjectPolicy(SERVING, ingress=DirectionPolicy(through(IN, 8080))))
    with proxy(cluster, IN_PORT, INGRESS) as middle:
        assert talk(far.ns, one) == [one.name, far.address, "6"]
        assert talk(two.ns, one) == [one.name, two.address, "6"]
        assert middle.accepted == [(far.address, one.address), (two.address, one.address)]


def test_a_service_leads_through_the_proxy(cluster: Cluster) -> None:
    cluster.isolate(SubjectPolicy(SERVING, ingress=DirectionPolicy(through(IN, 8080))))
    with proxy(cluster, IN_PORT, INGRESS) as middle:
        with cluster.bed.connect(80) as conn:
            conn.settimeout(5)
            assert ask(conn) == [cluster.one.name, CLIENT, "6"]
            assert ask(conn, b"again\n") == [cluster.one.name, CLIENT, "6"]
        assert middle.accepted == [(CLIENT, cluster.one.address)]


def test_two_proxies_in_a_row(cluster: Cluster) -> None:
    """One judges what the client opens, the other what reaches the server."""
    one, two = cluster.one, cluster.two
    cluster.isolate(
        SubjectPolicy(SERVING, egress=DirectionPolicy(through(OUT, 8080))),
        SubjectPolicy(SERVED, ingress=DirectionPolicy(through(IN, 8080))),
    )
    with proxy(cluster, OUT_PORT, EGRESS) as first, proxy(cluster, IN_PORT, INGRESS) as second:
        assert talk(one.ns, two) == [two.name, one.address, "6"]
        assert first.accepted == second.accepted == [(one.address, two.address)]


def test_without_its_proxy_a_connection_is_refused(cluster: Cluster) -> None:
    one, far, node = cluster.one, cluster.far, cluster.node
    cluster.isolate(SubjectPolicy(SERVING, egress=DirectionPolicy(through(OUT, 8080))))
    before = node.metric(Point.POD, Outcome.DROP_PROXY_GONE)
    with pytest.raises(TimeoutError):
        namespace.call_in(one.ns, socket.create_connection, (far.address, 8080), 0.5)
    assert node.metric(Point.POD, Outcome.DROP_PROXY_GONE) > before


def test_a_connection_stays_with_its_proxy_when_the_rules_change(cluster: Cluster) -> None:
    one, far = cluster.one, cluster.far
    cluster.isolate(SubjectPolicy(SERVING, egress=DirectionPolicy(through(OUT, 8080))))
    with proxy(cluster, OUT_PORT, EGRESS) as middle, connect(one.ns, far) as conn:
        conn.settimeout(5)
        assert ask(conn) == [far.name, one.address, "6"]
        cluster.isolate(SubjectPolicy(SERVING, egress=DirectionPolicy(Table(ALLOW))))
        assert ask(conn) == [far.name, one.address, "6"]
        assert talk(one.ns, far) == [far.name, one.address, "6"]
        assert len(middle.accepted) == 1
        cluster.isolate(SubjectPolicy(SERVING, egress=DirectionPolicy(Table(DEFAULT))))
        conn.settimeout(0.5)
        with pytest.raises(TimeoutError):
            ask(conn)


def test_much_passes_through_the_proxy(cluster: Cluster) -> None:
    one, far = cluster.one, cluster.far
    cluster.isolate(SubjectPolicy(SERVING, egress=DirectionPolicy(through(OUT, 8080))))
    with proxy(cluster, OUT_PORT, EGRESS), connect(one.ns, far) as conn:
        conn.settimeout(10)
        conn.sendall(b"give 3000000\n")
        left = 3_000_000
        while left:
            left -= len(conn.recv(65536))


def test_datagrams_go_to_the_proxy_and_its_answers_to_the_pod(cluster: Cluster) -> None:
    one, far = cluster.one, cluster.far
    cluster.isolate(
        SubjectPolicy(SERVING, egress=DirectionPolicy(through(DNS, 5353, UDP))),
    )
    middle = DatagramProxy(cluster.node.ns, DNS_PORT)
    asker = namespace.call_in(one.ns, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    with asker, contextlib.closing(middle):
        asker.settimeout(5)
        asker.connect((far.address, 5353))
        for number in range(3):
            asker.send(b"%d" % number)
            assert asker.recv(100) == b"proxy %d" % number


def test_another_proxy_follows(cluster: Cluster) -> None:
    """Another proxy takes what is new."""
    one, far = cluster.one, cluster.far
    cluster.isolate(SubjectPolicy(SERVING, egress=DirectionPolicy(through(OUT, 8080))))
    with proxy(cluster, OUT_PORT, EGRESS), connect(one.ns, far) as conn:
        conn.settimeout(5)
        ask(conn)
    with proxy(cluster, OUT_PORT, EGRESS) as again:
        assert talk(one.ns, far) == [far.name, one.address, "6"]
        wait_for(lambda: len(again.accepted) == 1, "the new proxy's connection")


def test_ip6_goes_through_the_proxy(cluster: Cluster) -> None:
    """As far as the proxy, which is what the programs do by another lookup."""
    one, node = cluster.one, cluster.node
    address, gateway, asked = "fd00:244:1::1", "fd00::1", "fd00:244:2::1"
    mac = mac_of(one.number + 1).hex(":")
    batch(
        one.ns,
        f"addr add {address}/128 dev eth0 nodad",
        f"route add {gateway} dev eth0",
        f"neigh add {gateway} lladdr {mac} dev eth0",
        f"route add default via {gateway} dev eth0",
    )
    batch(node.ns, f"route add {address}/128 dev veth1")
    set_sysctl(node.ns, ("ipv6/conf/all/forwarding", "1"))
    key = ServiceKey(parse_address(address), 0, 0).write()[:16]
    node.maps["endpoints"].update(key, one.endpoint().write())
    cluster.apply(endpoints={parse_address(address): SERVING})
    cluster.isolate(
        SubjectPolicy(
            SERVING,
            egress=DirectionPolicy(through(OUT, 8080)),
            ingress=DirectionPolicy(Table(DEFAULT)),
        )
    )
    middle = TransparentProxy(node.ns, OUT_PORT, EGRESS, socket.AF_INET6)
    with contextlib.closing(middle):
        conn = namespace.call_in(one.ns, socket.create_connection, (asked, 8080), 5)
        with conn:
            wait_for(lambda: middle.accepted == [(address, asked)], "the proxy's connection")
