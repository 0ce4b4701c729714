"""What runs in a lab, host by host: gathered once, shown as a table or as data.

    namespaces, supervisor, API  ->  HostRow, ProcessRow, ...  ->  table | JSON | YAML

Invariants  A part that does not answer is a row that says so, never an exception.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

from cairn.drive.kube_client import ApiError, Client
from cairn.drive.kubeconfig import NoAccess
from cairn.kube.resource import NODES, PODS
from cairn.lab import control, faults
from cairn.lab.cluster import condition_of
from cairn.lab.screen import Screen
from cairn.lab.state import Lab, LabError
from cairn.lab.topology import home_network
from cairn.linux import cgroup, namespace


@dataclass(frozen=True, slots=True)
class HostRow:
    """One host."""

    name: str
    """Its name."""
    addresses: tuple[str, ...]
    """The addresses of its main interface, one per family."""
    state: str
    """`up`, `paused`, or `missing`."""
    runs: tuple[str, ...]
    """Its processes and pods."""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process that the supervisor keeps."""

    name: str
    """Its name."""
    host: str
    """Where it runs."""
    state: str
    """`running`, `restarting` or `stopped`."""
    pid: int | None
    """Its number."""
    restarts: int
    """How often it was started again."""
    last_exit: str
    """How it ended last."""
    age_s: float
    """Seconds since its last start or end."""


@dataclass(frozen=True, slots=True)
class NodeRow:
    """One node, as the API server knows it."""

    name: str
    """Its name."""
    ready: str
    """`True`, `False` or `Unknown`."""
    message: str
    """Why it is not ready."""


@dataclass(frozen=True, slots=True)
class Overview:
    """All of a lab at one moment."""

    lab: str
    """Its name."""
    router: str
    """Which software routes."""
    kubeconfig: str
    """The administrator's kubeconfig."""
    api: str
    """`ok`, or why the API server does not answer."""
    supervisor: str
    """`ok`, or why the supervisor does not answer."""
    hosts: tuple[HostRow, ...]
    """Every host."""
    processes: tuple[ProcessRow, ...]
    """Every process outside pods."""
    nodes: tuple[NodeRow, ...]
    """Every node of the cluster."""
    faults: tuple[str, ...]
    """Faults that are in force."""

    @property
    def healthy(self) -> bool:
        """Whether everything runs and no fault is in force."""
        return (
            self.api == self.supervisor == "ok"
            and not self.faults
            and all(host.state == "up" for host in self.hosts)
            and all(process.state == "running" for process in self.processes)
            and all(node.ready == "True" for node in self.nodes)
        )

    def to_json(self) -> dict[str, Any]:
        """Return the overview as plain data."""
        return {"healthy": self.healthy, **asdict(self)}


async def take_overview(lab: Lab, client: Client | None) -> Overview:
    """Return what runs in the lab now; without a client the API's part stays empty."""
    supervisor, processes = _processes(lab)
    api, nodes, pods = await _cluster(client)
    hosts = []
    for host in home_network(lab.nodes, lab.far).hosts:
        runs = [row.name for row in processes if row.host == host.name]
        runs += sorted(pods.get(host.name, []))
        hosts.append(HostRow(host.name, host.addresses, _state(lab, host.name), tuple(runs)))
    return Overview(
        lab.name,
        lab.router,
        str(lab.kubeconfig),
        api,
        supervisor,
        tuple(hosts),
        processes,
        nodes,
        tuple(fault.text for fault in faults.active(lab)),
    )


async def gather(lab: Lab) -> Overview:
    """Return what runs in the lab now, asking its API server if it can be reached."""
    try:
        async with Client.connect(str(lab.kubeconfig)) as client:
            return await take_overview(lab, client)
    except NoAccess:
        return await take_overview(lab, None)


async def show_overview(lab: Lab, screen: Screen, client: Client) -> None:
    """Print which host runs what."""
    view = await take_overview(lab, client)
    screen.line("")
    screen.table(
        f"lab {lab.name}",
        ("HOST", "IPV4", "IPV6", "STATE", "RUNS"),
        [_host_row(h) for h in view.hosts],
    )


def print_overview(view: Overview, screen: Screen) -> None:
    """Print everything as tables."""
    screen.table(
        f"lab {view.lab}: router {view.router}, API {view.api}, supervisor {view.supervisor}",
        ("HOST", "IPV4", "IPV6", "STATE", "RUNS"),
        [_host_row(host) for host in view.hosts],
    )
    screen.table(
        "\nprocesses",
        ("NAME", "HOST", "STATE", "PID", "RESTARTS", "AGE", "LAST EXIT"),
        [
            (
                p.name,
                p.host,
                p.state,
                str(p.pid or "-"),
                str(p.restarts),
                f"{p.age_s:.0f}s",
                p.last_exit or "-",
            )
            for p in view.processes
        ],
    )
    screen.table(
        "\nnodes", ("NODE", "READY", "MESSAGE"), [(n.name, n.ready, n.message) for n in view.nodes]
    )
    for fault in view.faults:
        screen.line(f"fault in force: {fault} (cairn lab fault clear)")


def _host_row(host: HostRow) -> tuple[str, ...]:
    return host.name, *host.addresses, host.state, " ".join(host.runs)


def _state(lab: Lab, host: str) -> str:
    if not namespace.exists(lab.netns(host)):
        return "missing"
    return "paused" if cgroup.is_frozen(lab.group / host) else "up"


def _processes(lab: Lab) -> tuple[str, tuple[ProcessRow, ...]]:
    try:
        rows = control.processes(lab)
    except LabError as error:
        return str(error), ()
    now = time.time()
    return "ok", tuple(
        ProcessRow(
            row["name"],
            row["host"],
            row["state"],
            (row["identity"] or {}).get("pid"),
            row["restarts"],
            row["last_exit"],
            round(now - row["since"], 1),
        )
        for row in rows
    )


async def _cluster(
    client: Client | None,
) -> tuple[str, tuple[NodeRow, ...], dict[str, list[str]]]:
    if client is None:
        return "no kubeconfig: run cairn lab up", (), {}
    try:
        nodes, _ = await client.list(NODES)
        pods, _ = await client.list(PODS)
    except ApiError as error:
        return str(error), (), {}
    rows = []
    for node in nodes:
        condition = condition_of(node, "Ready")
        ready = str(condition.get("status", "Unknown"))
        message = "" if ready == "True" else str(condition.get("message", ""))
        rows.append(NodeRow(node["metadata"]["name"], ready, message))
    on: dict[str, list[str]] = {}
    for pod in pods:
        on.setdefault(pod["spec"].get("nodeName") or "", []).append(_pod_text(pod))
    return "ok", tuple(rows), on


def _pod_text(pod: dict[str, Any]) -> str:
    name = pod["metadata"]["name"]
    ready = condition_of(pod, "Ready").get("status") == "True"
    return f"pod/{name}" if ready else f"pod/{name}(not ready)"
