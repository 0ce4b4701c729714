"""`cairn dns` with real sockets: pods ask as ever, and find what they may ask."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from datapath_bed import batch, wait_for
from dns_bed import POD4, POD6, PORT, SERVER4, SERVER6, DnsBed, dns_bed

from cairn.dns import Edns, Message, Question, Rcode, Type, parse_name
from cairn.dns.message import read_message, write_message
from cairn.linux import namespace

pytestmark = pytest.mark.root

WWW, ANY, LATE = 1 << 25, (1 << 25) + 1, (1 << 25) + 2
RULES = ["*.example.com", "example.com"]
SELECTORS = {"www.example.com": WWW, "*.example.com": ANY}
NEIGHBOUR = "10.244.1.6"


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[DnsBed]:
    with running(tmp_path) as found:
        yield found


@contextlib.contextmanager
def running(tmp_path: Path, *options: str) -> Iterator[DnsBed]:
    with dns_bed(tmp_path / "run", *options) as found:
        assert found.policy(RULES, SELECTORS) == {"event": "applied", "listeners": 1}
        yield found


def query(name: str, number: int = 77, kind: int = Type.A) -> bytes:
    question = Question(parse_name(name), kind)
    return write_message(Message(number, recursion_desired=True, questions=(question,)))


def exchange(bed: DnsBed, octets: bytes) -> bytes:
    """Send a query from the pod over UDP and return what comes back."""
    with bed.pod_socket() as sock:
        sock.sendto(octets, (SERVER4, 53))
        answer, source = sock.recvfrom(65535)
        assert source == (SERVER4, 53)
        return answer


@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
@pytest.mark.parametrize(("server", "pod"), [(SERVER4, POD4), (SERVER6, POD6)])
def test_an_answer_comes_from_its_server_and_is_learnt(
    bed: DnsBed, way: str, server: str, pod: str
) -> None:
    bed.server.put("www.example.com", "198.51.100.7", "2001:db8::7")
    said = bed.dig("www.example.com", "A", way, server=server)
    assert "198.51.100.7" in said, said + bed.log()
    assert f"SERVER: {server}#53" in said
    assert bed.server.asked == [(pod, "www.example.com", int(way == "+tcp"))]
    assert sorted(bed.selectors("198.51.100.7")) == [WWW, ANY]
    assert "2001:db8::7" in bed.dig("www.example.com", "AAAA", way, server=server)
    assert sorted(bed.selectors("2001:db8::7")) == [WWW, ANY]


@pytest.mark.parametrize("way", ["+notcp", "+tcp"])
def test_a_name_that_may_not_be_asked_ends_here(bed: DnsBed, way: str) -> None:
    bed.server.put("evil.org", "203.0.113.1")
    said = bed.dig("evil.org", way)
    assert "status: NXDOMAIN" in said
    assert "network policy does not allow this name" in said
    assert bed.server.asked == []
    assert bed.counters()["refused"] == 1
    assert f"{POD4} may not ask for evil.org" in bed.log()


def test_resolvers_go_through_their_search_list(bed: DnsBed) -> None:
    bed.server.put("www.example.com", "198.51.100.7", "2001:db8::7")
    bed.server.put("api.two.example.com", "198.51.100.8")
    assert bed.policy([*RULES, "*.two.example.com"], SELECTORS)["event"] == "applied"
    conf = f"nameserver {SERVER4}\nsearch one.svc two.example.com three.svc\noptions ndots:5\n"
    assert bed.resolve("www.example.com", conf, kind="ahosts") == ["198.51.100.7", "2001:db8::7"]
    assert bed.resolve("api", conf) == ["198.51.100.8"]
    start = time.monotonic()
    assert bed.resolve("evil.org", conf) == []
    assert time.monotonic() - start < 2, "refused at once, not waited for"
    assert {name for _, name, _ in bed.server.asked} == {"www.example.com", "api.two.example.com"}


def test_octets_pass_unchanged(bed: DnsBed) -> None:
    strange = b"\xc0\x0c\0\x2e\0\1\0\0\0\x05\0\3abc" + b"\xc0\x0c\xff\0\0\1\0\0\0\0\0\1\0"
    seen: list[bytes] = []

    def reply(octets: bytes, peer: Any, sock: socket.socket) -> bool:
        seen.append(octets)
        sock.sendto(octets[:2] + b"\x85\xb0\0\1\0\2\0\0\0\0" + octets[12:33] + strange, peer)
        return True

    bed.server.before = reply
    asked = query("wWw.ExamPle.cOm")
    answer = exchange(bed, asked)
    assert seen[0][2:] == asked[2:], "but for the id"
    assert answer == asked[:2] + b"\x85\xb0\0\1\0\2\0\0\0\0" + asked[12:] + strange


def test_forged_answers_are_passed_over(bed: DnsBed) -> None:
    bed.server.put("www.example.com", "198.51.100.7")
    stranger = namespace.call_in(bed.outside, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind((SERVER4, 0))

    def forge(octets: bytes, peer: Any, sock: socket.socket) -> bool:
        bed.server.records["www.example.com", Type.A][0] = true
        good = write_message(bed.server.answer(read_message(octets)))
        bad = good[:-4] + b"\xcb\0\x71\x66"
        sock.sendto(bytes([octets[0] ^ 1]) + bad[1:], peer)
        sock.sendto(bad.replace(b"example", b"exbmple"), peer)
        sock.sendto(octets, peer)
        sock.sendto(good[:-2], peer)
        stranger.sendto(bad, peer)
        return False

    true = bed.server.records["www.example.com", Type.A][0]
    bed.server.before = forge
    for _ in range(20):
        assert exchange(bed, query("www.example.com"))[-4:] == bytes((198, 51, 100, 7))
    stranger.close()
    assert bed.selectors("203.0.113.102") == []
    assert bed.selectors("198.51.100.7") != []
    counters = bed.counters()
    forged = ("unasked id", "unasked question", "malformed answers")
    assert {reason for reason in forged if counters.get(reason, 0) >= 20} == set(forged)
    assert "answers no query" in bed.log()


def test_a_long_answer_is_cut_and_asked_again_over_tcp(bed: DnsBed) -> None:
    many = [f"198.51.100.{n}" for n in range(1, 255)] + [f"203.0.113.{n}" for n in range(1, 255)]
    bed.server.put("www.example.com", *many)
    said = bed.dig("www.example.com", "+short")
    assert sorted(said.split()) == sorted(many)
    assert [way for _, _, way in bed.server.asked] == [0, 1]
    assert [address for address in many if sorted(bed.selectors(address)) != [WWW, ANY]] == []


def test_aliases_lead_to_the_address_of_the_name_that_was_asked(bed: DnsBed) -> None:
    bed.server.alias("www.example.com", "edge.cdn.net", ttl_s=20)
    bed.server.alias("edge.cdn.net", "host.cdn.net")
    bed.server.put("host.cdn.net", "198.51.100.9", ttl_s=3600)
    assert "198.51.100.9" in bed.dig("www.example.com")
    assert sorted(bed.selectors("198.51.100.9")) == [WWW, ANY]
    (entry,) = bed.tell({"get": "names"})["names"]
    assert (entry["name"], entry["selectors"]) == ("www.example.com", [WWW, ANY])
    assert 100 < entry["addresses"][0]["expires_s"] <= 120


def test_a_server_that_is_silent_fails_the_query_in_time(tmp_path: Path) -> None:
    with running(tmp_path, "--timeout=0.5") as bed:
        bed.server.before = lambda *_: True
        start = time.monotonic()
        answer = read_message(exchange(bed, query("www.example.com")))
        assert 0.4 < time.monotonic() - start < 5
        assert (answer.id, answer.rcode) == (77, Rcode.SERVFAIL)
        assert bed.counters()["timeouts"] == 1


def test_who_floods_floods_itself(bed: DnsBed) -> None:
    batch(bed.pod, f"address add {NEIGHBOUR}/32 dev eth0")
    batch(bed.node, f"route add {NEIGHBOUR}/32 dev pod")
    bed.server.put("www.example.com", "198.51.100.7")
    bed.server.before = lambda octets, *_: b"slow" in octets
    with bed.pod_socket() as flood, bed.pod_socket() as calm:
        flood.bind((POD4, 0))
        calm.bind((NEIGHBOUR, 0))
        for number in range(1000):
            flood.sendto(query(f"slow{number}.example.com", number), (SERVER4, 53))
        refused = read_message(flood.recv(4096))
        assert refused.rcode == Rcode.SERVFAIL
        calm.sendto(query("www.example.com"), (SERVER4, 53))
        assert calm.recv(4096)[-4:] == bytes((198, 51, 100, 7))
    wait_for(lambda: bed.counters().get("limited", 0) > 500, "the flood to be limited")
    assert bed.counters()["waiting"] <= 256
    assert "asks faster than its DNS server" in bed.log()


@pytest.mark.parametrize(
    "octets",
    [b"", b"\0", bytes(12), b"\xff" * 40, bytes(5000), query("www.example.com")[:-3],
     query("www.example.com")[:12] + b"\xc0\x0c\0\1\0\1"],
)  # fmt: skip
def test_nonsense_changes_nothing(bed: DnsBed, octets: bytes) -> None:
    bed.server.put("www.example.com", "198.51.100.7")
    with bed.pod_socket() as sock:
        for _ in range(3):
            sock.sendto(octets, (SERVER4, 53))
    with namespace.call_in(bed.pod, socket.create_connection, (SERVER4, 53), 5) as stream:
        stream.sendall(len(octets).to_bytes(2, "big") + octets)
    assert "198.51.100.7" in bed.dig("www.example.com")
    assert "Traceback" not in bed.log()
    assert sum(v for k, v in bed.counters().items() if k.startswith("rejected: ")) >= 3


def test_queries_on_one_connection_are_judged_one_by_one(bed: DnsBed) -> None:
    bed.server.put("www.example.com", "198.51.100.7")
    wanted = ["www.example.com", "evil.org", "www.example.com", "no.example.com"]
    with namespace.call_in(bed.pod, socket.create_connection, (SERVER4, 53), 5) as stream:
        for number, name in enumerate(wanted):
            octets = query(name, number)
            stream.sendall(len(octets).to_bytes(2, "big") + octets)
        stream.shutdown(socket.SHUT_WR)
        with stream.makefile("rb") as file:
            octets = file.read()
    rcodes = {}
    while octets:
        size = int.from_bytes(octets[:2], "big")
        answer = read_message(octets[2 : size + 2])
        rcodes[answer.id] = (answer.rcode, len(answer.answers))
        octets = octets[size + 2 :]
    no = (Rcode.NXDOMAIN, 0)
    assert rcodes == {0: (Rcode.NOERROR, 1), 1: no, 2: (Rcode.NOERROR, 1), 3: no}
    assert {name for _, name, _ in bed.server.asked} == {"www.example.com", "no.example.com"}


def test_an_edns_query_keeps_its_options(bed: DnsBed) -> None:
    seen: list[Edns | None] = []

    def look(octets: bytes, *_: object) -> bool:
        seen.append(read_message(octets).edns)
        return False

    bed.server.before = look
    bed.server.put("www.example.com", "198.51.100.7")
    assert "198.51.100.7" in bed.dig("www.example.com", "+dnssec", "+bufsize=4000")
    assert seen[0] is not None
    assert (seen[0].udp_octets, seen[0].dnssec_ok) == (4000, True)


def test_no_answer_is_there_before_its_addresses_are_in_the_data_plane(bed: DnsBed) -> None:
    """A thousand names, four at a time; each looks for its address the moment it has the answer."""
    count, late = 1000, []
    for number in range(count):
        bed.server.put(f"n{number}.example.com", f"10.{number >> 8}.{number & 255}.1")

    def ask(first: int) -> None:
        with bed.pod_socket() as sock:
            for number in range(first, count, 4):
                sock.sendto(query(f"n{number}.example.com", number), (SERVER4, 53))
                octets = sock.recv(4096)
                if bed.selectors(f"10.{number >> 8}.{number & 255}.1") != [ANY]:
                    late.append((number, octets))

    threads = [threading.Thread(target=ask, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert late == []
    assert bed.counters()["answers"] == count


def test_a_line_that_says_nothing_changes_nothing(bed: DnsBed) -> None:
    for line in (
        b"\n", b"[]\n", b"{\n", b'{"listeners": 3}\n', b'{"listeners":[{"port":0}]}\n',
        b"[" * 100_000 + b"\n", json.dumps({"selectors": [{"identity": 1}]}).encode() + b"\n",
        b'{"listeners":[{"port":15000},{"port":15000}]}\n', b"\xff\xfe\n",
    ):  # fmt: skip
        assert bed.tell(line)["event"] == "error"
    bed.server.put("www.example.com", "198.51.100.7")
    assert "198.51.100.7" in bed.dig("www.example.com")
    assert "Traceback" not in bed.log()


def test_a_port_that_is_taken_is_named_and_the_others_listen(bed: DnsBed) -> None:
    with bed.node_listener(15001):
        state = {"listeners": [{"port": 15001, "rules": []}, {"port": PORT, "rules": []}]}
        answer = bed.tell(state)
        assert answer["event"] == "error"
        assert "port 15001: Address already in use" in answer["error"]
        assert "status: NXDOMAIN" in bed.dig("www.example.com")
    assert bed.tell(state) == {"event": "applied", "listeners": 2}
    text = bed.tell({"get": "metrics"})["text"]
    assert 'cairn_dns_events_total{event="refused"} 1' in text
