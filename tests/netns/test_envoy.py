"""Requests through the node's real Envoy: judged, and otherwise left as they are."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from datapath_bed import wait_for
from envoy_bed import (
    EGRESS,
    INGRESS,
    NODE,
    WORLD,
    A,
    AgentSide,
    B,
    Client,
    ProxyBed,
    accepts,
    answer_of,
    clients,
    proxy_bed,
    tproxy,
)

from cairn.desired.policy import Redirect
from cairn.desired.proxy import PROXY_PORTS
from cairn.kube.policy.rule import Direction, HeaderMatch, HttpRule, PolicyRef, RuleRef
from cairn.linux import namespace

pytestmark = pytest.mark.root

PUBLIC = Redirect(http=(HttpRule(method="GET|HEAD", path="/(json|public/.*)"),))
REACHED = Redirect(http=(HttpRule(path="/json"),), direction=Direction.INGRESS)
NAMES = 15003
NAMED = Redirect(server_names=("*.allowed.example", "exact.example"))
FAMILIES = pytest.mark.parametrize("family", [0, 1], ids=["IPv4", "IPv6"])


STEERING = (
    *tproxy('iifname "va" tcp dport { 8080, 50051 }', EGRESS),
    *tproxy('iifname "va" tcp dport 8443', NAMES),
    *tproxy('iifname "eth1" tcp dport 8080', INGRESS),
)


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxyBed]:
    with proxy_bed(tmp_path_factory.mktemp("p")) as made:
        for name in ("b", "world"):
            made.start(name, sys.executable, "-m", "cairn.lab.images.web", PORT="8080")
        made.start("b", sys.executable, str(Path(__file__).with_name("h2_server.py")), "50051")
        made.start("b", sys.executable, str(Path(__file__).with_name("tls_server.py")), "8443")
        made.start_proxy()
        made.steer(*STEERING)
        for name, address, port in (
            ("b", B[0], 8080),
            ("b", B[0], 50051),
            ("b", B[0], 8443),
            ("world", WORLD[0], 8080),
        ):
            wait_for(partial(accepts, made.ns(name), address, port), "the servers")
        yield made


@pytest.fixture(scope="module")
def agent(bed: ProxyBed) -> Iterator[AgentSide]:
    side = AgentSide(bed.directory, bed.node)
    side.serve({EGRESS: PUBLIC, INGRESS: REACHED})
    assert side.told == []
    yield side
    side.stop()


def url(addresses: tuple[str, str], family: int, path: str) -> str:
    host = f"[{addresses[1]}]" if family else addresses[0]
    return f"http://{host}:8080{path}"


@FAMILIES
def test_an_allowed_request_goes_on_in_the_pods_own_name(
    bed: ProxyBed, agent: AgentSide, family: int
) -> None:
    status, said = answer_of(bed.curl("a", url(B, family, "/json")))
    assert status == 200, said
    assert said["client"].removeprefix("::ffff:") == A[family]
    assert said["host"] == url(B, family, "").removeprefix("http://")


@FAMILIES
def test_a_denied_request_gets_403_and_a_line_in_the_log(
    bed: ProxyBed, agent: AgentSide, family: int
) -> None:
    path = f"/secret-{family}"
    status, said = answer_of(bed.curl("a", url(B, family, path)))
    assert (status, said) == (403, {"text": "Access denied\n"})
    wait_for(lambda: path in {line.path for line in bed.log_lines()}, "the log's line")
    line = next(line for line in bed.log_lines() if line.path == path)
    assert line.denied
    assert (line.direction, line.method, line.status) == ("egress", "GET", 403)
    assert A[family] in line.source
    assert B[family] in line.destination


@FAMILIES
def test_who_is_reached_sees_the_client_too(bed: ProxyBed, agent: AgentSide, family: int) -> None:
    status, said = answer_of(bed.curl("world", url(B, family, "/json")))
    assert status == 200, said
    assert said["client"].removeprefix("::ffff:") == WORLD[family]
    assert answer_of(bed.curl("world", url(B, family, "/other")))[0] == 403


@FAMILIES
def test_the_world_answers_through_masquerade(bed: ProxyBed, agent: AgentSide, family: int) -> None:
    status, said = answer_of(bed.curl("a", url(WORLD, family, "/json")))
    assert status == 200, said
    assert said["client"].removeprefix("::ffff:") == NODE[family]
    assert answer_of(bed.curl("a", url(WORLD, family, "/secret")))[0] == 403


def test_http2_is_spoken_to_who_is_spoken_to_in_it(bed: ProxyBed, agent: AgentSide) -> None:
    status, said = answer_of(bed.curl("a", url(B, 0, "/json"), "--http2-prior-knowledge"))
    assert (status, said.get("protocol")) == (200, "HTTP/2")
    assert said["client"].removeprefix("::ffff:") == A[0]
    refused = bed.curl("a", url(B, 0, "/no"), "--http2-prior-knowledge")
    assert refused.startswith("HTTP/2 403")


def test_grpc_keeps_its_trailers_and_learns_of_a_denial(bed: ProxyBed, agent: AgentSide) -> None:
    agent.serve(
        {
            EGRESS: Redirect(http=(HttpRule(method="POST", path="/echo.Echo/.*"),)),
            INGRESS: REACHED,
        }
    )
    call = ("--http2-prior-knowledge", "-H", "content-type: application/grpc", "--data", "hello")
    said = bed.curl("a", f"http://{B[0]}:50051/echo.Echo/Say", *call)
    assert "hello" in said
    assert "grpc-status: 0" in said
    assert f"peer: {A[0]}" in said
    denied = bed.curl("a", f"http://{B[0]}:50051/other.Other/Say", *call[:-2], "-X", "POST")
    agent.serve({EGRESS: PUBLIC, INGRESS: REACHED})
    assert "grpc-status: 7" in denied, denied
    assert "Access denied" in denied


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/public/x", 200),
        ("/public/../secret", 403),
        ("/public/%2e%2e/secret", 403),
        ("/public/.%2e/secret", 403),
        ("/public\\..\\secret", 403),
        ("/public/..%2fsecret", 307),
        ("/public/..%5csecret", 307),
        ("//secret", 403),
        ("/PUBLIC/x", 403),
        ("/json?x=/public/", 403),
        ("/secret?/public/x", 403),
    ],
)
def test_no_spelling_of_a_path_gets_by(
    bed: ProxyBed, agent: AgentSide, path: str, status: int
) -> None:
    said = bed.curl("a", url(B, 0, path))
    assert answer_of(said)[0] == status, said


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("one.allowed.example", True),
        ("exact.example", True),
        ("EXACT.example", True),
        ("two.one.allowed.example", False),
        ("allowed.example", False),
        ("other.example", False),
        ("exact.example.org", False),
    ],
)
def test_tls_is_judged_by_the_name_that_is_asked_for(
    bed: ProxyBed, agent: AgentSide, name: str, allowed: bool
) -> None:
    agent.serve({EGRESS: PUBLIC, INGRESS: REACHED, NAMES: NAMED})
    to = ("-k", "--resolve", f"{name}:8443:{B[0]}")
    said = bed.curl("a", f"https://{name}:8443/", *to)
    assert said.endswith(A[0]) is allowed, said
    if not allowed:
        asked = name.lower()
        wait_for(lambda: asked in {line.server_name for line in bed.log_lines()}, "the log's line")
        assert next(line for line in bed.log_lines() if line.server_name == asked).denied


def test_what_is_no_tls_does_not_pass_where_names_are_asked_for(
    bed: ProxyBed, agent: AgentSide
) -> None:
    agent.serve({EGRESS: PUBLIC, INGRESS: REACHED, NAMES: NAMED})
    assert "HTTP/" not in bed.curl("a", f"http://{B[0]}:8443/")
    wait_for(lambda: "NR" in {line.flags for line in bed.log_lines()}, "the log's line")
    assert next(line for line in bed.log_lines() if line.flags == "NR").denied


def test_headers_are_asked_for_and_mended(bed: ProxyBed, agent: AgentSide) -> None:
    agent.secrets[("shop", "token")] = "hidden"
    rules = (
        HttpRule(path="/a", headers=(HeaderMatch("x-token", None, secret=("shop", "token")),)),
        HttpRule(path="/json", headers=(HeaderMatch("accept", "text/plain", "REPLACE"),)),
    )
    agent.serve({EGRESS: Redirect(http=rules), INGRESS: REACHED})
    replies = [
        answer_of(bed.curl("a", url(B, 0, "/a"), "-H", f"x-token: {token}"))[0]
        for token in ("hidden", "wrong")
    ]
    agent.serve({EGRESS: PUBLIC, INGRESS: REACHED})
    assert replies == [200, 403]


def ask_from_port(bed: ProxyBed, port: int) -> bytes:
    """Return the answer to a request from a port of the client; the server closes first."""
    client = namespace.call_in(bed.ns("a"), socket.socket)
    with client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.settimeout(3)
        client.bind((A[0], port))
        client.connect((B[0], 8080))
        client.sendall(b"GET /json HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n")
        return b"".join(iter(partial(client.recv, 65536), b""))


def test_a_port_that_is_used_again_at_once_is_heard(bed: ProxyBed, agent: AgentSide) -> None:
    for _ in range(3):
        assert ask_from_port(bed, 23456).startswith(b"HTTP/1.1 200")


def test_the_proxy_connects_from_ports_that_clients_do_not_get(
    bed: ProxyBed, agent: AgentSide
) -> None:
    _, said = answer_of(bed.curl("a", url(B, 0, "/json")))
    assert said["clientPort"] >= PROXY_PORTS[0]


def test_other_protocols_go_on_after_an_allowed_upgrade(bed: ProxyBed, agent: AgentSide) -> None:
    listener = namespace.call_in(bed.ns("b"), lambda: socket.create_server((B[0], 50052)))
    bed.steer(*STEERING, *tproxy('iifname "va" tcp dport 50052', EGRESS))
    switched = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    )

    def echo() -> None:
        conn, _ = listener.accept()
        with conn:
            conn.recv(65536)
            conn.sendall(switched)
            conn.sendall(conn.recv(65536))

    thread = threading.Thread(target=echo, daemon=True)
    thread.start()
    client = namespace.call_in(bed.ns("a"), socket.create_connection, (B[0], 50052), 5)
    with client:
        client.sendall(
            b"GET /json HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b"101" in client.recv(65536)
        client.sendall(b"ping")
        assert client.recv(65536) == b"ping"
    thread.join(5)
    listener.close()
    bed.steer(*STEERING)


def test_headers_stay_as_they_were_sent(bed: ProxyBed, agent: AgentSide) -> None:
    listener = namespace.call_in(
        bed.ns("b"), lambda: socket.create_server((B[0], 50051 + 1), backlog=8)
    )
    bed.steer(*STEERING, *tproxy('iifname "va" tcp dport 50052', EGRESS))
    seen: list[bytes] = []

    def answer() -> None:
        conn, _ = listener.accept()
        with conn:
            seen.append(conn.recv(65536))
            conn.sendall(
                b"HTTP/1.1 200 OK\r\nX-MiXed: 1\r\nserver: me\r\nContent-Length: 0\r\n\r\n"
            )

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    sent = ("-H", "X-Forwarded-For: 1.2.3.4", "-H", "X-Request-Id: mine", "-H", "X-CaSe: Kept")
    said = bed.curl("a", f"http://{B[0]}:50052/json", *sent)
    thread.join(5)
    listener.close()
    bed.steer(*STEERING)
    assert "X-MiXed: 1" in said
    assert "server: me" in said
    assert "x-envoy" not in said.lower()
    text = seen[0].decode()
    for header in ("X-Forwarded-For: 1.2.3.4", "X-Request-Id: mine", "X-CaSe: Kept"):
        assert header in text
    assert "x-envoy" not in text.lower()


def test_rules_change_under_load_without_a_broken_connection(
    bed: ProxyBed, agent: AgentSide
) -> None:
    denying = Redirect(http=(HttpRule(path="/public/.*"),))
    with clients(bed.ns("a"), B[0], "/json") as asking:
        for _ in range(3):
            assert set(asking[0].wait_for_answers(5)) == {200}
            agent.serve({EGRESS: denying, INGRESS: REACHED})
            time.sleep(0.05)  # what was asked before the change is answered
            for client in asking:
                assert set(client.wait_for_answers(3)[1:]) == {403}
            agent.serve({EGRESS: PUBLIC, INGRESS: REACHED})
            for client in asking:
                client.wait_for_answers(2)
        assert [client.error for client in asking] == [""] * len(asking)


def test_the_agent_goes_and_comes_back_and_nobody_notices(bed: ProxyBed, agent: AgentSide) -> None:
    with clients(bed.ns("a"), B[0], "/json") as asking:
        other = AgentSide(bed.directory, bed.node)
        other.serve({EGRESS: PUBLIC, INGRESS: REACHED})
        other.stop()
        for client in asking:
            assert set(client.wait_for_answers(5)) == {200}
        assert [client.error for client in asking] == [""] * len(asking)


def test_envoy_killed_under_load_lets_nothing_through_and_is_back_at_once(
    bed: ProxyBed, agent: AgentSide
) -> None:
    before = bed.envoy_pid()
    os.kill(before, signal.SIGKILL)
    began = time.monotonic()
    statuses: list[int] = []

    def ask() -> bool:
        statuses.append(answer_of(bed.curl("a", url(B, 0, "/secret")))[0])
        return statuses[-1] == 403

    wait_for(ask, "Envoy's return")
    assert set(statuses) <= {0, 403}, "a request was not judged"
    assert time.monotonic() - began < 5
    assert bed.envoy_pid() != before
    assert answer_of(bed.curl("a", url(B, 0, "/json")))[0] == 200


def test_rules_that_envoy_refuses_are_told_with_their_policy(
    bed: ProxyBed, agent: AgentSide
) -> None:
    policy = RuleRef(PolicyRef("CiliumNetworkPolicy", "shop", "web"), "egress[0]")
    wrong = Redirect(http=(HttpRule(path="(?=x)"),))
    agent.told.clear()
    agent.serve({EGRESS: wrong, INGRESS: REACHED}, owners={EGRESS: (policy,)})
    assert agent.told == [
        (
            "ProxyRefused",
            "CiliumNetworkPolicy/shop/web egress[0]: invalid perl operator: (?=",
        )
    ]
    assert answer_of(bed.curl("a", url(B, 0, "/json")))[0] == 200, "the last good rules stay"
    agent.serve({EGRESS: PUBLIC, INGRESS: REACHED})
    assert agent.envoy.failures == {}


def test_there_may_be_many_listeners(bed: ProxyBed, agent: AgentSide) -> None:
    many = dict.fromkeys(range(15100, 15300), PUBLIC)
    agent.serve({EGRESS: PUBLIC, INGRESS: REACHED, **many})
    assert agent.envoy.failures == {}
    agent.serve({EGRESS: PUBLIC, INGRESS: REACHED})


def test_a_listener_that_goes_lets_its_connections_end_as_told(
    bed: ProxyBed, agent: AgentSide
) -> None:
    everything = Redirect(http=(HttpRule(),))
    for rules, expected in ((everything, 200), (None, 403)):
        client = Client(bed.ns("a"), B[0], "/json")
        assert set(client.wait_for_answers(2)) == {200}
        agent.serve({INGRESS: REACHED}, leaving={EGRESS: rules} if rules else None)
        wait_for(client.ended, "the end of the connection")
        assert client.error == "the server closes"
        assert client.answers[-1] == expected
        client.stop()
        assert not accepts(bed.ns("a"), B[0], 8080), "somebody listens there"
        agent.serve({EGRESS: PUBLIC, INGRESS: REACHED})
