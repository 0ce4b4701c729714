"""What judging requests costs: requests a second under an HTTP policy, and without.

    connections kept open, over Envoy or not  ->  nginx  ->  rows; run by itself, JSON

    python bench/l7.py [--seconds S] [--rounds N]

Client, Envoy and server share the machine, and the client is Python: what counts are the ratios, of
rounds that take turns. Steering is nftables' here, as in the proxy's tests.

Units       requests a second
"""

import argparse
import json
import select
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "netns"))

import socket

from datapath_bed import wait_for
from envoy_bed import AgentSide, B, ProxyBed, accepts, proxy_bed, tproxy
from row import Row, compare, take_turns

from cairn.desired.policy import Redirect
from cairn.kube.policy.rule import HttpRule
from cairn.linux import namespace

SECONDS, ROUNDS = 1.0, 11
CONNECTIONS = 32
DIRECT, OPEN, JUDGED = 8081, 8082, 8083
"""Ports of the server: reached directly, through an Envoy that allows all, and one with rules."""
RULES = (
    *(HttpRule(method="GET|POST", path=f"/v{number}/[a-z]+/[0-9]+") for number in range(19)),
    HttpRule(method="GET", path="/items/[0-9]+"),
)
REQUEST = b"GET /items/17 HTTP/1.1\r\nHost: bench\r\n\r\n"
NGINX = """
worker_processes 1; daemon off; pid {place}/pid; error_log /dev/null; events {{ }}
http {{ access_log off; keepalive_requests 1000000000;
  server {{ listen 8081; listen 8082; listen 8083; location / {{ return 200 "{body}"; }} }} }}
"""


def run(seconds: float = SECONDS, rounds: int = ROUNDS) -> list[Row]:
    """Build a bed, measure, and return the rows."""
    nginx = shutil.which("nginx") or "/usr/sbin/nginx"
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-")))
        bed = stack.enter_context(proxy_bed(place / "proxy"))
        (place / "nginx.conf").write_text(NGINX.format(place=place, body="x" * 512))
        bed.start("b", nginx, "-c", str(place / "nginx.conf"), "-e", "/dev/null")
        bed.start_proxy()
        bed.steer(
            *tproxy(f'iifname "va" tcp dport {OPEN}', 15001),
            *tproxy(f'iifname "va" tcp dport {JUDGED}', 15002),
        )
        agent = AgentSide(bed.directory, bed.node)
        stack.callback(agent.stop)
        agent.serve({15001: Redirect(http=(HttpRule(),)), 15002: Redirect(http=RULES)})
        wait_for(partial(accepts, bed.ns("a"), B[0], DIRECT), "nginx")
        return measure(bed, seconds, rounds)


def measure(bed: ProxyBed, seconds: float, rounds: int) -> list[Row]:
    """Return the rows."""
    ask: Callable[[int], Callable[[], float]] = lambda port: partial(  # noqa: E731
        namespace.call_in, bed.ns("a"), rate, port, seconds
    )
    for port in (DIRECT, OPEN, JUDGED):
        ask(port)()
    return [
        compare(
            "HTTP policy of 20 rules, against the same Envoy with none",
            "requests/s",
            take_turns(ask(JUDGED), ask(OPEN), rounds),
            "what the rules themselves cost",
        ),
        compare(
            "HTTP policy of 20 rules, against no proxy",
            "requests/s",
            take_turns(ask(JUDGED), ask(DIRECT), rounds),
            "what it costs that a proxy stands between",
        ),
    ]


def rate(port: int, seconds: float) -> float:
    """Return how many requests a second are answered over connections that are kept open."""
    with ExitStack() as stack:
        connections = {}
        for _ in range(CONNECTIONS):
            sock = stack.enter_context(socket.create_connection((B[0], port), 5))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connections[sock.fileno()] = sock
        first = next(iter(connections.values()))
        first.sendall(REQUEST)
        answer = first.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        return _ask_all(connections, len(answer), seconds)


def _ask_all(connections: dict[int, socket.socket], octets: int, seconds: float) -> float:
    poll = select.epoll()
    for number, sock in connections.items():
        poll.register(number, select.EPOLLIN)
        sock.sendall(REQUEST)
    missing = dict.fromkeys(connections, octets)
    answers = 0
    began = now = time.monotonic()
    while now - began < seconds:
        for number, _ in poll.poll():
            sock = connections[number]
            missing[number] -= len(sock.recv(65536))
            if missing[number] <= 0:
                answers += 1
                missing[number] = octets
                sock.sendall(REQUEST)
        now = time.monotonic()
    poll.close()
    return answers / (now - began)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(json.dumps([asdict(row) for row in run(options.seconds, options.rounds)], indent=1))
