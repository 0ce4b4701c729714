"""How soon a changed policy is in force, among many: a real agent and API server, one node.

    POLICIES over LABEL_SETS, written through the API; then one of them changed, again and again
    ->  start, memory, milliseconds from the request to the raised revision in the data plane

Every label set has a pod of the node, so that each policy is compiled and written there. The delay
counts from before the request is sent: the API server's commit is in it. `--policies N` and
`--label-sets N` choose other numbers.
"""

import argparse
import asyncio
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "beds"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "netns"))

from agent_bed import NODE, AgentBed, agent_node
from row import Row, at_most, percentile

from cairn.abi.structs import PolicyState
from cairn.drive.kube_client import Client
from cairn.kube.metadata import Key
from cairn.kube.resource import NETWORK_POLICIES, PODS
from cairn.libbpf import Map
from cairn.linux import namespace

POLICIES, LABEL_SETS = 30_000, 6_000
CHANGES = 100
AT_ONCE = 40
START_AIM_S, DELAY_AIM_MS, MEMORY_AIM_MB = 30.0, 100.0, 300.0
SIZES = ("policy_ports=524288", "policy_peers=524288")


def policy(number: int, label_sets: int, port: int = 8080) -> dict[str, Any]:
    """Return the policy of a number: pods of one label set, reached from those of another."""
    chosen, peer = number % label_sets, (number * 7 + 1) % label_sets
    rule = {
        "from": [{"podSelector": {"matchLabels": {"app": f"app-{peer}"}}}],
        "ports": [{"port": port}],
    }
    return {
        "apiVersion": NETWORK_POLICIES.api_version,
        "kind": NETWORK_POLICIES.kind,
        "metadata": {"name": f"policy-{number}", "namespace": "default"},
        "spec": {
            "podSelector": {"matchLabels": {"app": f"app-{chosen}"}},
            "policyTypes": ["Ingress"],
            "ingress": [rule],
        },
    }


def pod(number: int) -> dict[str, Any]:
    """Return a pod of the node; it is not wired, but policies are compiled for it all the same."""
    labels = {"app": f"app-{number}", "tier": f"tier-{number % 7}"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number}", "namespace": "default", "labels": labels},
        "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "none"}]},
    }


async def fill(kubeconfig: str, policies: int, label_sets: int) -> None:
    """Write all pods and policies."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with Client.connect(kubeconfig) as client:

        async def create(kind: Any, obj: dict[str, Any]) -> None:
            async with turn:
                await client.create(kind, obj)

        async with asyncio.TaskGroup() as tasks:
            for number in range(label_sets):
                tasks.create_task(create(PODS, pod(number)))
            for number in range(policies):
                tasks.create_task(create(NETWORK_POLICIES, policy(number, label_sets)))


class Revisions(threading.Thread):
    """Watches the revision of a node's policies, closely."""

    def __init__(self, pin: Path) -> None:
        super().__init__(daemon=True)
        self._map = Map.open_pinned(pin)
        self.number = 0
        self.at_s = 0.0

    def run(self) -> None:
        while True:
            number = PolicyState.read(self._map.lookup(bytes(4)) or bytes(8)).revision
            if number != self.number:
                self.at_s, self.number = time.perf_counter(), number
            time.sleep(0.0005)


async def change(kubeconfig: str, revisions: Revisions, label_sets: int) -> list[float]:
    """Change one policy after the other; return how long each took to be in force, in ms."""
    found: list[float] = []
    async with Client.connect(kubeconfig) as client:
        for turn in range(CHANGES):
            number = turn * 37 % label_sets
            patch = {"spec": policy(number, label_sets, 9000 + turn)["spec"]}
            await asyncio.sleep(0.05)
            before, start_s = revisions.number, time.perf_counter()
            await client.patch(NETWORK_POLICIES, Key("default", f"policy-{number}"), patch)
            async with asyncio.timeout(20):
                while revisions.number == before:
                    await asyncio.sleep(0.0005)
            found.append((revisions.at_s - start_s) * 1000)
    return found


def memory_mb(pid: int) -> float:
    """Return how much memory a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def start(bed: AgentBed) -> float:
    """Start the agent; return how long that took."""
    began = time.perf_counter()
    sizes = [word for size in SIZES for word in ("--map-size", size)]
    bed.start_agent(*sizes, within_s=300)
    return time.perf_counter() - began


def run(policies: int = POLICIES, label_sets: int = LABEL_SETS) -> list[Row]:
    """Measure."""
    with tempfile.TemporaryDirectory() as folder, agent_node(Path(folder)) as bed:
        kubeconfig = str(bed.kubeconfig)
        namespace.call_in(bed.netns, asyncio.run, fill(kubeconfig, policies, label_sets))
        took_s = start(bed)
        assert bed.agent is not None
        revisions = Revisions(bed.pins / "policy_state")
        revisions.start()
        delays = namespace.call_in(
            bed.netns, asyncio.run, change(kubeconfig, revisions, label_sets)
        )
        held = memory_mb(bed.agent.pid)
        bed.kill_agent()
        again_s = start(bed)
        if os.environ.get("VERBOSE"):
            sys.stderr.write(bed.log())
    many = f"{policies:,} policies over {label_sets:,} label sets of one node"
    late = percentile(delays, 99)
    return [
        at_most(f"{many}: start", took_s, "s", START_AIM_S, "from nothing to all in force"),
        Row(f"{many}: restart", again_s, "s", "a new agent, nothing changed"),
        Row(f"{many}: one change, median", statistics.median(delays), "ms", "request to in force"),
        at_most(f"{many}: one change, p99", late, "ms", DELAY_AIM_MS, "the same"),
        at_most(f"{many}: memory", held, "MB", MEMORY_AIM_MB, "the agent's resident set"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--policies", type=int, default=POLICIES)
    parser.add_argument("--label-sets", type=int, default=LABEL_SETS)
    chosen = parser.parse_args()
    for row in run(chosen.policies, chosen.label_sets):
        print(f"{row.figure:<75} {row.value:>9.1f} {row.unit}")
