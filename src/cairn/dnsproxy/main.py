"""`cairn dns`: command line, signals and log of the DNS proxy.

argv  ->  DnsService in a child process, until SIGTERM or SIGINT  ->  exit status
"""

import argparse
import logging
import signal
import sys
from pathlib import Path

from cairn.dns.learnt import Keeping
from cairn.dns.number import Rcode
from cairn.dnsproxy.keeper import keep
from cairn.dnsproxy.service import DnsService, Options

REFUSALS = {"refused": Rcode.REFUSED, "nxdomain": Rcode.NXDOMAIN}


def main(argv: list[str]) -> int:
    """Run the proxy; return 0 after a signal, 1 if it cannot start."""
    options = _parser().parse_args(argv)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )
    found = Options(
        socket=options.run / "dns.sock",
        state=options.run / "dns.json",
        learnt=options.run / "dns-names.jsonl",
        pins=options.bpf,
        refuse_with=REFUSALS[options.refuse_with],
        keeping=Keeping(options.min_ttl, options.max_ttl, options.grace),
        timeout_s=options.timeout,
        capacity=options.capacity,
        metrics_port=options.metrics,
    )
    return keep(lambda orphaned: _serve(found, orphaned))


def _serve(options: Options, orphaned: int) -> int:
    service = DnsService(options)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.loop.stop())
    service.loop.add(orphaned, lambda _: service.loop.stop())
    try:
        service.run()
    except OSError as error:
        sys.stderr.write(f"cairn dns: {error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cairn dns", description="One node's DNS proxy.")
    parser.add_argument(
        "--run", type=Path, default=Path("/run/cairn"), help="socket dns.sock, and what is kept"
    )
    parser.add_argument("--bpf", type=Path, default=Path("/sys/fs/bpf/cairn"), help="pins")
    parser.add_argument(
        "--refuse-with", choices=sorted(REFUSALS), default="nxdomain",
        help="what a pod gets for a name it may not ask for: refused ends a resolver's search",
    )  # fmt: skip
    for name, default, text in (
        ("--min-ttl", 60.0, "count shorter TTLs as this"),
        ("--max-ttl", 86400.0, "count longer TTLs as this"),
        ("--grace", 60.0, "keep addresses longer than their TTL by this"),
        ("--timeout", 4.0, "how long a server has for an answer"),
    ):
        parser.add_argument(name, type=float, default=default, metavar="SECONDS", help=text)
    parser.add_argument(
        "--capacity", type=int, default=65536, metavar="N", help="pairs of name and address kept"
    )
    parser.add_argument("--metrics", type=int, default=0, metavar="PORT",
                        help="of GET /metrics (usual: 9968; default: none)")  # fmt: skip
    return parser
