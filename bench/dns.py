"""What the DNS proxy takes: queries a second through it, against the same server without it.

    pod's socket  ->  cairn dns  ->  a server that answers anything  ->  rows; run by itself, JSON

    python bench/dns.py [--queries N] [--rounds N]

The server and the load run on the other cores; how many queries one core would take is told by
the processor time that the proxy used for them, so that a busy machine does not change it much.
The same with somebody who is told of every lookup, as the agent is for flows: on against off.
Steering is nftables' here, as in the proxy's tests; under tc it costs less.

Units       queries a second
"""

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "netns"))

from dns_bed import SERVER4, DnsBed, dns_bed
from row import Aim, Row, compare, take_turns

from cairn.dns import Message, Question, Type, parse_name
from cairn.dns.lookup import Lost, read_lookup
from cairn.dns.message import write_message
from cairn.linux import namespace

QUERIES, ROUNDS = 20_000, 5
NAMES = 500
WINDOW = 64
"""Queries under way at once."""
DIRECT = 5300
"""A port of the server that nothing is steered from."""
SELECTORS = 100
AIM = 5000
FEED_AIM = Aim(1.5)
"""A record is made and written for each query."""
ANSWER = b"\xc0\x0c\0\1\0\1\0\0\0\x1e\0\4\xc6\x33"


def run(queries: int = QUERIES, rounds: int = ROUNDS) -> list[Row]:
    """Build a bed, measure, and return the rows."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cairn-bench-"))
        bed = stack.enter_context(dns_bed(Path(folder) / "run", serves=False))
        for port in (53, DIRECT):
            sock = namespace.call_in(bed.outside, socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
            sock.bind((SERVER4, port))
            server = multiprocessing.Process(target=answer_all, args=(sock,), daemon=True)
            server.start()
            stack.callback(server.terminate)
        selectors = {f"*{n}.example.com": 100 + n for n in range(SELECTORS)}
        assert bed.policy(["*.example.com"], selectors)["event"] == "applied"
        return measure(bed, queries, rounds)


def measure(bed: DnsBed, queries: int, rounds: int) -> list[Row]:
    """Return the rows of a bed that answers."""
    messages = [query(number) for number in range(NAMES)]
    per_core: list[float] = []
    with bed.pod_socket() as sock:
        load(sock, 53, messages, NAMES)  # so that names are known, as after a while they are

        def through() -> float:
            before = processor_s(bed.child)
            rate = load(sock, 53, messages, queries)
            per_core.append(queries / (processor_s(bed.child) - before))
            return rate

        pairs = take_turns(through, lambda: load(sock, DIRECT, messages, queries), rounds)
        told = take_turns(
            lambda: told_of(bed, sock, messages, queries),
            lambda: cost_us(bed, lambda: load(sock, 53, messages, queries), queries),
            rounds,
        )
    core = statistics.median(per_core)
    return [
        compare("DNS through the proxy", "queries/s", pairs, "a pod with policy by names"),
        Row(
            "the same, on one core", core, "queries/s", "what the proxy's own time allows",
            aim=f"≥ {AIM:,}", met=core >= AIM,
        ),
        compare(
            "a query while lookups are told", "us", told,
            "the proxy's processor time, with flows of lookups against without", FEED_AIM,
        ),
    ]  # fmt: skip


def told_of(bed: DnsBed, sock: socket.socket, messages: list[bytes], queries: int) -> float:
    """Return what a query costs the proxy, in us, while somebody is told of each lookup."""
    over, seen = multiprocessing.Event(), multiprocessing.Value("q", 0)
    watcher = multiprocessing.Process(
        target=watch, args=(bed.run / "dns.sock", over, seen), daemon=True
    )
    watcher.start()
    try:
        while not seen.value:  # until it is told of something
            load(sock, 53, messages, 1)
        before = seen.value
        spent = cost_us(bed, lambda: load(sock, 53, messages, queries), queries)
        end = time.monotonic() + 10
        while seen.value < before + queries and time.monotonic() < end:
            time.sleep(0.01)
        if seen.value < before + queries:
            raise RuntimeError(f"told of {seen.value - before:,} lookups, of {queries:,}")
        return spent
    finally:
        over.set()
        watcher.join(5)


def watch(path: Path, over: Any, seen: Any) -> None:
    """Be told of lookups, and count them, and those that the proxy says it could not tell."""
    with socket.socket(socket.AF_UNIX) as feed:
        feed.connect(str(path))
        feed.sendall(json.dumps({"watch": "lookups"}).encode() + b"\n")
        feed.settimeout(0.2)
        rest = b""
        while not over.is_set():
            try:
                *lines, rest = (rest + feed.recv(1 << 16)).split(b"\n")
            except TimeoutError:
                continue
            for line in lines:
                if not line.startswith(b'{"event"'):
                    found = read_lookup(line)
                    seen.value += found.lost if isinstance(found, Lost) else 1


def cost_us(bed: DnsBed, what: Callable[[], object], queries: int) -> float:
    """Return the processor time that the proxy spends on each query, in us."""
    before = processor_s(bed.child)
    what()
    return (processor_s(bed.child) - before) / queries * 1e6


def load(sock: socket.socket, port: int, messages: list[bytes], count: int) -> float:
    """Ask `count` queries, some at a time; return how many were answered a second."""
    sent = done = 0
    start = time.perf_counter()
    while done < count:
        while sent < count and sent - done < WINDOW:
            sock.sendto(messages[sent % len(messages)], (SERVER4, port))
            sent += 1
        sock.recv(4096)  # one that is lost fails the benchmark by its timeout
        done += 1
    return count / (time.perf_counter() - start)


def query(number: int) -> bytes:
    """Return one query."""
    question = Question(parse_name(f"host-{number}.example.com"), Type.A)
    return write_message(Message(number, recursion_desired=True, questions=(question,)))


def answer_all(sock: socket.socket) -> None:
    """Answer any query with an address made of its id, until terminated."""
    while True:
        octets, peer = sock.recvfrom(4096)
        head = octets[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
        sock.sendto(head + octets[12:] + ANSWER + octets[:2], peer)


def processor_s(pid: int) -> float:
    """Return how much processor time a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(json.dumps([asdict(row) for row in run(options.queries, options.rounds)], indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
