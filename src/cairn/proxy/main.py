"""`cairn proxy`: starts Envoy once there is something to serve, and again whenever it ends.

    bootstrap.json in the directory  ->  a running Envoy;  its absence  ->  none

A container of its own holds it, so that a restart of the agent touches no connection. Until there
is a first HTTP rule this process only looks now and then, and holds little.

Invariants  Where Envoy is not installed that is said once it is needed, and it is looked for from
            time to time: a node without HTTP rules needs none.
            Envoy that ends is started again at once; one that ends soon after its start, after a
            pause that grows. While it is away nothing listens, so nothing passes.
            Envoy ends with this process: there are never two.
            The access log is put aside when it is full: both take twice LOG_BYTES.
Not here    what Envoy serves (agent/envoy.py)
"""

import argparse
import signal
from pathlib import Path

from cairn.drive.metrics_thread import start_metrics
from cairn.proxy.supervisor import Supervisor, say

DIRECTORY = Path("/run/cairn/proxy")


def main(argv: list[str]) -> int:
    """Keep Envoy until told to stop."""
    parser = argparse.ArgumentParser(prog="cairn proxy", description="Run one node's Envoy.")
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="shared with the agent")
    parser.add_argument("--metrics", type=int, default=0, metavar="PORT",
                        help="of GET /metrics (usual: 9964; default: none)")  # fmt: skip
    options = parser.parse_args(argv)
    supervisor = Supervisor(options.directory)
    start_metrics(supervisor.families, options.metrics, say)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: supervisor.stop())
    supervisor.run()
    return 0
