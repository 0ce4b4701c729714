"""`cairn dns` under the real programs: policy by name, from the query to the connection."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address, ip_network

import pytest
from datapath_bed import OBJECTS, batch, wait_for
from dns_bed import POD4, POD6, PORT, SERVER4, SERVER6, DnsBed, dns_bed

from cairn.abi.address import write_address
from cairn.abi.structs import Config, Endpoint, Identity, PolicyAction
from cairn.apply.policy_maps import PolicyChange, PolicyMaps
from cairn.apply.policy_rules import RuleNumbers
from cairn.desired.policy import DirectionPolicy, PortRange, Redirect, SubjectPolicy, Table, Verdict
from cairn.dns import Message, Question, Type, parse_name
from cairn.dns.message import read_message, write_message
from cairn.kube.policy.rule import DnsRule, PolicyRef, RuleRef
from cairn.libbpf import AttachType, Link, Map, load_object
from cairn.linux import namespace
from cairn.net import Protocol

pytestmark = pytest.mark.root

SUBJECT, NAMED = 300, 1 << 25
WEB = 443
NODE4 = "192.0.2.1"
REF = PolicyRef("CiliumNetworkPolicy", "default", "by-name")
DENIED = Verdict(PolicyAction.DEFAULT_DENY, RuleRef(REF, ""))
ALLOWED = Verdict(PolicyAction.ALLOW, RuleRef(REF, "egress[1]"))
REDIRECT = Redirect(dns=(DnsRule(pattern="*.example.com"),))
ASKED = Verdict(PolicyAction.PROXY, RuleRef(REF, "egress[0]"), REDIRECT)
DNS = Table(
    DENIED, tuple(PortRange(protocol, 53, 53, ASKED) for protocol in (Protocol.TCP, Protocol.UDP))
)
POLICY = SubjectPolicy(
    SUBJECT,
    egress=DirectionPolicy(
        Table(DENIED),
        {
            Identity.WORLD_IPV4: DNS,
            Identity.WORLD_IPV6: DNS,
            Identity.HOST: DNS,
            NAMED: Table(DENIED, (PortRange(Protocol.TCP, WEB, WEB, ALLOWED),)),
        },
    ),
)


def steer_by_programs(bed: DnsBed) -> None:
    """Attach the programs as the agent does, and write the policy."""

    def attach() -> dict[str, Map]:
        uplink, pod = socket.if_nametoindex("srv"), socket.if_nametoindex("pod")
        config = Config(
            ip_address("192.0.2.1"),
            ip_address("2001:db8:53::1"),
            uplink,
            0,
            0,
            mac("srv"),
            1_000,
            20_000,
            0,
        ).write()
        maps: dict[str, Map] = {}
        for name, device, hook in (
            ("pod_ingress", pod, AttachType.TCX_INGRESS),
            ("pod_egress", pod, AttachType.TCX_EGRESS),
            ("uplink_ingress", uplink, AttachType.TCX_INGRESS),
            ("uplink_egress", uplink, AttachType.TCX_EGRESS),
        ):
            loaded = load_object(
                OBJECTS / f"{name}.o", config={".rodata.config": config}, reuse=maps
            )
            bed.stack.callback(loaded.close)
            maps.update({key: held for key, held in loaded.maps.items() if "." not in key})
            link = Link.create(loaded.programs[name], hook, device)
            bed.stack.callback(link.close)
        endpoint = Endpoint(pod, pod_mac, mac("pod"), 0, 0).write()
        for address in (POD4, POD6):
            maps["endpoints"].update(write_address(ip_address(address)), endpoint)
        return maps

    pod_mac = namespace.call_in(bed.pod, mac, "eth0")
    bed.maps = namespace.call_in(bed.node, attach)
    for name in ("policy_names", "policy_flows"):
        bed.maps[name].pin(bed.pins / name)
    policies = PolicyMaps(bed.maps, RuleNumbers({}), lambda redirect, rule: PORT)
    everyone = {
        ip_network("0.0.0.0/0"): Identity.WORLD_IPV4, ip_network("::/0"): Identity.WORLD_IPV6,
        ip_network(NODE4): Identity.HOST,
    }  # fmt: skip
    pods = {ip_address(POD4): SUBJECT, ip_address(POD6): SUBJECT}
    failed = policies.apply(PolicyChange({SUBJECT: POLICY}, everyone, pods))
    assert failed == []


def mac(device: str) -> bytes:
    """Return an interface's address, in the calling thread's namespace."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((device, 0))
        octets: bytes = sock.getsockname()[4]
        return octets


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DnsBed]:
    run = tmp_path_factory.mktemp("steered") / "run"
    with dns_bed(run, steer=steer_by_programs) as found:
        state = found.policy(["*.example.com"], {"*.example.com": NAMED})
        assert state == {"event": "applied", "listeners": 1}
        batch(found.outside, "route add local 198.51.100.0/24 dev lo",
              "route add local 2001:db8:100::/64 dev lo")  # fmt: skip
        batch(found.node, f"route add 198.51.100.0/24 via {SERVER4}",
              f"route add 2001:db8:100::/64 via {SERVER6}")  # fmt: skip
        with serve_web(found):
            yield found


@pytest.fixture
def bed(shared: DnsBed) -> DnsBed:
    shared.server.records.clear()
    shared.server.asked.clear()
    return shared


@contextlib.contextmanager
def serve_web(bed: DnsBed) -> Iterator[None]:
    """Accept connections at any address of the outside, and say who came."""
    server = namespace.call_in(
        bed.outside, socket.create_server, ("::", WEB), family=socket.AF_INET6,
        dualstack_ipv6=True, backlog=1024,
    )  # fmt: skip

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                conn, peer = server.accept()
                conn.sendall(peer[0].removeprefix("::ffff:").encode())
                conn.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def reach(bed: DnsBed, address: str, timeout_s: float = 5.0) -> str:
    """Return what the outside says of a connection from the pod; raises OSError."""
    with namespace.call_in(bed.pod, socket.create_connection, (address, WEB), timeout_s) as conn:
        return conn.recv(100).decode()


@pytest.mark.parametrize(
    ("server", "way", "pod", "address", "other"),
    [
        (SERVER4, "+notcp", POD4, "198.51.100.251", "198.51.100.255"),
        (SERVER4, "+tcp", POD4, "198.51.100.252", "198.51.100.255"),
        (SERVER6, "+notcp", POD6, "2001:db8:100::1", "2001:db8:100::ff"),
        (SERVER6, "+tcp", POD6, "2001:db8:100::2", "2001:db8:100::ff"),
    ],
)
def test_a_name_opens_its_addresses_and_no_others(
    bed: DnsBed, server: str, way: str, pod: str, address: str, other: str
) -> None:
    kind = "AAAA" if ":" in address else "A"
    bed.server.put("www.example.com", address)
    with pytest.raises(OSError, match="timed out"):
        reach(bed, address, 0.3)
    said = bed.dig("www.example.com", kind, way, server=server)
    assert address in said, said + bed.log()
    assert bed.server.asked[0][0] == pod, "the server sees the pod"
    assert reach(bed, address) == pod
    assert "status: NXDOMAIN" in bed.dig("evil.org", kind, way, server=server)
    with pytest.raises(OSError, match="timed out"):
        reach(bed, other, 0.3)


def test_without_a_proxy_queries_are_dropped_and_names_stay(bed: DnsBed) -> None:
    bed.server.put("www.example.com", "198.51.100.7")
    assert "198.51.100.7" in bed.dig("www.example.com")
    bed.kill()
    assert "timed out" in bed.dig("www.example.com", "+time=1")
    assert [name for _, name, _ in bed.server.asked] == ["www.example.com"], "none leaked"
    assert reach(bed, "198.51.100.7") == POD4
    bed.start()
    assert "198.51.100.7" in bed.dig("www.example.com")


def test_resolve_and_connect_a_thousand_times(bed: DnsBed) -> None:
    """Four clients; every name is new, and connected to the moment its answer is there; meanwhile
    the proxy is killed, and what knows names is the proxy alone: no agent runs here."""
    count, wrong, done = 1000, [], []
    for number in range(count):
        bed.server.put(f"n{number}.example.com", f"198.51.100.{number % 250 + 1}", ttl_s=0)

    def work(first: int) -> None:
        for number in range(first, count, 4):
            try:
                address = resolve(bed, f"n{number}.example.com", number)
                if reach(bed, address) != POD4:
                    wrong.append(f"{number}: another address")
            except OSError as error:
                wrong.append(f"{number}: {error}")
            done.append(number)

    threads = [threading.Thread(target=work, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for share in (0.25, 0.5, 0.75):
        wait_for(partial(has_done, done, share * count), "a part of the work", 60)
        bed.kill()
        bed.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def has_done(done: list[int], wanted: float) -> bool:
    return len(done) > wanted


def query(name: str, number: int) -> bytes:
    question = Question(parse_name(name), Type.A)
    return write_message(Message(number, recursion_desired=True, questions=(question,)))


def resolve(bed: DnsBed, name: str, number: int) -> str:
    """Ask as a resolver does: again, if nothing comes in time."""
    octets = query(name, number)
    with bed.pod_socket() as sock:
        sock.settimeout(0.5)
        for _ in range(20):
            sock.sendto(octets, (SERVER4, 53))
            with contextlib.suppress(TimeoutError):
                (record,) = read_message(sock.recv(4096)).answers
                return str(record.data)
    raise TimeoutError(f"no answer for {name}")


def test_answers_leave_no_trace_for_others(bed: DnsBed) -> None:
    """Many queries from one port: each comes to the proxy, none to the socket that answers."""
    bed.server.put("www.example.com", "198.51.100.7")
    with bed.pod_socket() as sock:
        for number in range(50):
            sock.sendto(query("www.example.com", number), (SERVER4, 53))
            assert read_message(sock.recv(4096)).id == number
    assert len(bed.server.asked) == 50


def test_a_server_on_the_node_itself_keeps_its_queries(bed: DnsBed) -> None:
    """It is bound to an address of the node and shares it with nobody; pods ask it, too."""
    sock = namespace.call_in(bed.node, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((NODE4, 53))
    heard: list[str] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                octets, peer = sock.recvfrom(4096)
                heard.append(peer[0])
                sock.sendto(write_message(bed.server.answer(read_message(octets))), peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    bed.server.put("www.example.com", "198.51.100.7")
    with namespace.call_in(bed.outside, socket.socket, socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.settimeout(5)
        for number in range(20):
            assert "198.51.100.7" in bed.dig("www.example.com", server=NODE4), bed.log()
            other.sendto(query("www.example.com", number), (NODE4, 53))
            assert other.recv(4096)[-4:] == bytes((198, 51, 100, 7))
    sock.close()
    assert heard.count(POD4) == 20
