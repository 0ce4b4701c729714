"""iperf3 and request/response between two places, in the lab or beside it.

Place, address  ->  Mbit/s, or round trips per second

Invariants  Both kinds of place run the same programs with the same options; only what leads a
            command into its namespace differs, and that is over before the measuring begins.
            Each has a session of its own, as pods have: the kernel shares the processor out by
            session, and two ends in one are woken sooner than two ends in two.
            Both ends of a request share one core, so that its time is what the path costs, and not
            how long the other core takes to wake up.
"""

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from running import LabRun

from cairn.linux import cgroup

SOURCE = Path(__file__).with_name("ping_pong.c")
PING_PONG = Path(__file__).resolve().parents[1] / ".cache" / "bench" / "ping_pong"
ONE_CORE = ("taskset", "-c", "0")
TRIP_S = 0.1
JOIN = 'echo $$ > "$0/cgroup.procs" && exec nsenter --net="$1" -- "${@:2}"'
IPERF_PORT, ECHO_PORT = 5201, 5202
ROUND_S = 1
TIMEOUT_S = 30
ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command runs."""

    enter: tuple[str, ...]
    """Words before the command."""

    def output(self, *argv: str, check: bool = True) -> str:
        """Run a command to its end and return what it printed; with `check`, only on success."""
        done = subprocess.run(
            [*self.enter, *argv],
            text=True,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            start_new_session=True,
        )
        said = done.stderr.strip() or done.stdout.strip()[-300:]
        assert not check or done.returncode == 0, f"{' '.join(argv)}: {said}"
        return done.stdout


def in_netns(name: str) -> Place:
    """Return a place that is only a network namespace."""
    return Place(("nsenter", f"--net=/run/netns/{name}", "--"))


def in_lab(lab: LabRun, host: str) -> Place:
    """Return a host or pod of the lab: its network namespace and its control group.

    `cairn lab exec` says once what they are; to start it each time would take most of the time.
    """
    groups = lab.on(host, "cat", "/proc/self/cgroup").splitlines()
    group = next(line.removeprefix("0::") for line in groups if line.startswith("0::"))
    inode = int(lab.on(host, "stat", "-L", "-c", "%i", "/proc/self/ns/net"))
    netns = next(path for path in Path("/run/netns").iterdir() if path.stat().st_ino == inode)
    return Place(("bash", "-c", JOIN, f"{cgroup.unified_root()}{group}", str(netns)))


def mbit_per_s(place: Place, address: str, streams: int) -> float:
    """Return what arrived, by iperf3; a server that is busy still is asked again."""
    words = ["-c", address, "-p", str(IPERF_PORT), "-t", str(ROUND_S), "-P", str(streams), "-J"]
    for _ in range(ATTEMPTS):
        report = json.loads(place.output("iperf3", *words, check=False) or "{}")
        if "sum_received" in report.get("end", {}):
            return float(report["end"]["sum_received"]["bits_per_second"]) / 1e6
    raise AssertionError(f"iperf3 -c {address}: {report.get('error', 'no report')}")


def trip_ns(place: Place, address: str) -> float:
    """Return the time of one octet there and back over one connection."""
    return _ask(place, "trips", address)


def connection_ns(place: Place, address: str) -> float:
    """Return the time of connect, request, response and close."""
    return _ask(place, "connections", address)


def _ask(place: Place, mode: str, address: str) -> float:
    words = (*ONE_CORE, str(PING_PONG), mode, address, str(ECHO_PORT), str(TRIP_S))
    return float(place.output(*words))


def server_commands() -> tuple[list[str], list[str]]:
    """Return the commands that both kinds of client want to meet."""
    PING_PONG.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["clang-19", "-O2", "-Wall", "-o", str(PING_PONG), str(SOURCE)], check=True)
    return (
        ["iperf3", "-s", "-p", str(IPERF_PORT)],
        [*ONE_CORE, str(PING_PONG), "serve", str(ECHO_PORT)],
    )


@contextmanager
def serving(netns: Sequence[str]) -> Iterator[None]:
    """Run both servers in each of these namespaces."""
    with ExitStack() as stack:
        for name in netns:
            for argv in server_commands():
                words = [*in_netns(name).enter, *argv]
                quiet = subprocess.DEVNULL
                process = subprocess.Popen(
                    words, stdout=quiet, stderr=quiet, start_new_session=True
                )
                stack.callback(process.wait)
                stack.callback(process.terminate)
        yield
