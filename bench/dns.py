"""What the DNS proxy takes: queries a second through it, against the same server without it.

    pod's socket  ->  cairn dns  ->  a server that answers anything  ->  rows; run by itself, JSON

    python bench/dns.py [--queries N] [--rounds N]

The server and the load run on the other cores; how many queries one core would take is told by
the processor time that the proxy used for them, so that a busy machine does not change it much.
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
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "netns"))

from dns_bed import SERVER4, DnsBed, dns_bed
from row import Row, compare, take_turns

from cairn.dns import Message, Question, Type, parse_name
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
    core = statistics.median(per_core)
    return [
        compare("DNS through the proxy", "queries/s", pairs, "a pod with policy by names"),
        Row(
            "the same, on one core", core, "queries/s", "what the proxy's own time allows",
            aim=f"≥ {AIM:,}", met=core >= AIM,
        ),
    ]  # fmt: skip


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
