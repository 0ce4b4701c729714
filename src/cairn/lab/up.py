"""`cairn lab up`: from nothing, or from what is left of a lab, to a cluster that answers.

    Choices  ->  network, API server, router, nodes, scenario, an answer through the VIP

Invariants  Every step heals what is missing and leaves the rest alone, so `up` may run again.
            It ends with 0 only after every condition that it waited for held.
"""

import asyncio
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from cairn.drive.kube_client import Client
from cairn.kube.crds import load as load_crds
from cairn.kube.metadata import Key
from cairn.kube.resource import SERVICES
from cairn.lab import cluster, control, faults, inventory, parts
from cairn.lab.entry import write_commands
from cairn.lab.fetch import Page, fetch
from cairn.lab.hosts import build_network
from cairn.lab.loopback import LOOPBACK, free_port
from cairn.lab.manifest import BUILT_IN, apply_objects, load_manifests
from cairn.lab.overview import show_overview
from cairn.lab.preflight import check_machine, check_root
from cairn.lab.screen import Screen
from cairn.lab.state import (
    Lab,
    LabError,
    WrongUsage,
    choosing,
    exclusive,
    lab_names,
    load_lab,
    save_lab,
    write_whole,
)
from cairn.lab.teardown import recorded_or_bare
from cairn.lab.topology import API_ADDRESS, API_PORT, MAX_NODES, ROUTER, home_network, node_name
from cairn.linux import cgroup, namespace
from cairn.linux.sysctl import write_settings

WEB_APP = Key("default", "my-web-app")
DAEMONS = Key("kube-system", "cairn")
_CHROOT_ACCOUNTS = {"openbgpd": "_openbgpd"}
"""Daemons that chroot to an account's home, which is below /run and systemd would make."""
_MASTERS = ["system:masters"]


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user asked for; None where nothing was said."""

    name: str
    """The lab's name."""
    nodes: int | None = None
    """Number of nodes."""
    far_nodes: int | None = None
    """Number of nodes besides, on the second subnet."""
    router: str | None = None
    """Which software routes."""
    state: Path | None = None
    """Folder of the durable state."""
    manifests: Path | None = None
    """Manifests of the user, applied last."""
    scenario: bool = True
    """Whether to start the reference scenario."""


def bring_up(choices: Choices) -> int:
    """Bring the lab up, or back to health; return the exit status."""
    check_root("cairn lab up")
    screen = Screen()
    user_objects = load_manifests(choices.manifests) if choices.manifests else []
    check_machine(choices.router or "cairn")
    if choices.state:
        _ensure_folder(choices.state)
    with choosing():
        lab, fresh = choose_lab(choices)
        save_lab(lab)
    with exclusive(lab):
        healthy = _start_processes(lab, screen)
        if healthy and not fresh:
            screen.done(f"lab {lab.name} was up already; every process runs")
        asyncio.run(_fill(lab, screen, choices, user_objects))
    return 0


def _ensure_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"--state {path}: {error.strerror}; name a folder that can be made and written"
        ) from None


def choose_lab(choices: Choices) -> tuple[Lab, bool]:
    """Return the lab to bring up, and whether it is a new one; raises LabError on a conflict."""
    if choices.name not in lab_names():
        taken = {recorded_or_bare(name).port for name in lab_names()}
        count = 3 if choices.nodes is None else choices.nodes
        every = tuple(range(1, count + (choices.far_nodes or 0) + 1))
        if len(every) > MAX_NODES:
            raise WrongUsage(f"{len(every)} nodes: a lab has 1 to {MAX_NODES}, far ones included")
        state = str(choices.state.resolve()) if choices.state else ""
        router = choices.router or "cairn"
        port = free_port(taken)
        return Lab(choices.name, every, every[count:], router, port, state), True
    lab = load_lab(choices.name)
    differs = []
    near = len(lab.nodes) - len(lab.far)
    if choices.nodes not in (None, near):
        differs.append(f"{near} nodes")
    if choices.far_nodes not in (None, len(lab.far)):
        differs.append(f"{len(lab.far)} far nodes")
    if choices.router not in (None, lab.router):
        differs.append(f"router {lab.router}")
    if choices.state and choices.state.resolve() != lab.durable:
        differs.append(f"its state in {lab.durable}")
    if differs:
        raise LabError(
            f"lab {lab.name} is up already, with {' and '.join(differs)}; take it down first "
            f"(cairn lab down --name {lab.name}) or start another with --name"
        )
    return lab, False


def _start_processes(lab: Lab, screen: Screen) -> bool:
    """Start all that runs outside pods; return whether nothing had to be mended."""
    topology = home_network(lab.nodes, lab.far)
    with screen.step(f"network: {len(topology.hosts)} hosts on {len(topology.segments)} segments"):
        lost = [host.name for host in topology.hosts if not namespace.exists(lab.netns(host.name))]
        mended = build_network(lab, topology)
        for host in lost:  # what still runs there runs in a namespace that nothing leads to
            cgroup.kill(lab.group / host)
        _prepare_nodes(lab)
    with screen.step("keys and kubeconfigs"):
        write_keys(lab)
    if not control.is_supervised(lab):
        mended.append("supervisor")
        control.start_supervisor(lab)
    for fault in faults.clear(lab):
        mended.append(fault.text)
        screen.done(f"fault cleared: {fault.text}")
    running = {row["name"] for row in control.processes(lab) if row["state"] == "running"}
    with screen.step(f"router: {lab.router}"):
        control.run(lab, inventory.api_process(lab))
        wanted = ["api", *start_router(lab)]
    with screen.step(f"API server on https://{LOOPBACK}:{lab.port}"):
        asyncio.run(_wait_for_api(lab))
    for process in [inventory.controllers_process(lab), *inventory.kubelet_processes(lab)]:
        control.run(lab, process)
        wanted.append(process.name)
    screen.done(f"{len(wanted)} processes: {', '.join(wanted)}")
    return not mended and running >= set(wanted)


def start_router(lab: Lab) -> list[str]:
    """Start the router's daemons and wait until they are ready; return their names."""
    plan = inventory.router_plan(lab)
    folder = lab.run / ROUTER
    folder.mkdir(parents=True, exist_ok=True)
    shutil.chown(folder, plan.owner, plan.owner)
    for path, file in plan.files.items():
        write_whole(path, file.text, file.mode)
        shutil.chown(path, file.owner, file.owner)
    if lab.router in _CHROOT_ACCOUNTS:
        Path(pwd.getpwnam(_CHROOT_ACCOUNTS[lab.router]).pw_dir).mkdir(parents=True, exist_ok=True)
    namespace.call_in(lab.netns(ROUTER), write_settings, plan.sysctls)
    processes = inventory.router_processes(plan)
    for process in processes:
        control.run(lab, process)
    write_commands(lab, inventory.cairn_command(), inventory.router_views(lab, plan))
    asyncio.run(
        cluster.wait_for(
            f"router {lab.router}",
            lambda: _router_missing(lab, plan),
            deadline_s=20,
            hint=lambda: control.trouble(lab) or f"see {lab.logs}/{processes[0].name}.log",
        )
    )
    return inventory.names_of(processes)


def write_keys(lab: Lab) -> None:
    """Make the cluster's keys on the first call; write every kubeconfig."""
    pki = parts.ensure_pki(lab.pki)
    outer, inner = f"https://{LOOPBACK}:{lab.port}", f"https://{API_ADDRESS}:{API_PORT}"
    wanted = [
        (lab.kubeconfig, outer, "kubernetes-admin", _MASTERS),
        (lab.inner_kubeconfig, inner, "kubernetes-admin", _MASTERS),
        (lab.node_kubeconfig("controllers"), inner, "system:kube-controller-manager", _MASTERS),
    ]
    for number in lab.nodes:
        node = node_name(number)
        path = lab.node_kubeconfig(node)
        wanted.append((path, inner, f"system:node:{node}", ["system:nodes"]))
    for path, url, user, groups in wanted:
        parts.write_kubeconfig(path, url, pki, user, groups)


async def _fill(
    lab: Lab, screen: Screen, choices: Choices, objects: list[dict[str, object]]
) -> None:
    """Apply what runs in the cluster and wait until it is whole."""
    names = [node_name(number) for number in lab.nodes]

    def hint() -> str:
        return control.trouble(lab) or f"see kubectl get pods -A, and the logs in {lab.logs}"

    async with Client.connect(str(lab.kubeconfig)) as client:
        with screen.step("Cairn's resource definitions and daemons applied"):
            await apply_objects(client, load_crds())
            await apply_objects(client, load_manifests(BUILT_IN / "cairn.yaml"))
            await apply_objects(client, load_manifests(BUILT_IN / "relay.yaml"))
        for stranger in await cluster.strike_out_strangers(client, names):
            screen.done(f"{stranger} was known from before and is not part of this lab: removed")
        with screen.step(f"{len(names)} nodes Ready"):
            await cluster.wait_for(
                "nodes",
                lambda: cluster.nodes_missing(client, names),
                deadline_s=60,
                hint=hint,
            )
            await cluster.wait_for(
                f"DaemonSet {DAEMONS}",
                lambda: cluster.daemon_set_missing(client, DAEMONS, len(names)),
                deadline_s=60,
                hint=hint,
            )
        if choices.scenario:
            await apply_objects(client, load_manifests(BUILT_IN / "scenario"), update=False)
        if objects:
            count = await apply_objects(client, objects)
            screen.done(f"{count} objects of {choices.manifests}")
        with screen.step("all Deployments ready"):
            await cluster.wait_for(
                "Deployments", lambda: cluster.deployments_missing(client), deadline_s=90, hint=hint
            )
        page = None
        if choices.scenario:
            with screen.step(f"Service {WEB_APP} answers client-1"):
                page = await _ask_web_app(lab, client, hint)
        await show_overview(lab, screen, client)
    show_end(lab, screen, page)


async def _ask_web_app(lab: Lab, client: Client, hint: Callable[[], str]) -> tuple[str, Page]:
    await cluster.wait_for(
        "address", lambda: cluster.address_missing(client, WEB_APP), deadline_s=30, hint=hint
    )
    address = cluster.external_address(await client.get(SERVICES, WEB_APP))
    url = f"http://{address}"
    pages: list[Page] = []

    async def missing() -> str:
        try:
            pages.append(fetch(lab.netns("client-1"), url, timeout_s=2))
        except OSError as error:
            return f"client-1 asks {url}: {error}"
        return "" if pages[-1].status == 200 else f"status {pages[-1].status}"

    await cluster.wait_for("the web application", missing, deadline_s=30, hint=hint)
    return url, pages[-1]


def show_end(lab: Lab, screen: Screen, answer: tuple[str, Page] | None) -> None:
    """Print the answer fetched through the VIP, and what to try next."""
    if answer is not None:
        url, page = answer
        screen.line(f"\nclient-1 $ curl {url}\n{page.text.rstrip()}")
    name = "" if lab.name == "home" else f" --name {lab.name}"
    target = answer[0] if answer else "http://192.168.1.100"
    screen.line(
        f"\nnext:\n  export KUBECONFIG={lab.kubeconfig}\n"
        "  kubectl get svc -A -o wide\n  cairn status\n"
        f"  cairn lab exec{name} router -- bgpctl show neighbor\n"
        f"  cairn lab exec{name} client-1 -- curl {target}\n"
        f"  cairn lab fault{name} list\n  cairn lab down{name}"
    )


def _prepare_nodes(lab: Lab) -> None:
    for number in lab.nodes:
        prepare_node(lab, number)


def prepare_node(lab: Lab, number: int) -> None:
    """Create the folders that a node has for itself."""
    node = node_name(number)
    for inner in ("etc/cni/net.d", "run/cairn"):
        (lab.node_files(node) / inner).mkdir(parents=True, exist_ok=True)
    (lab.pins / node).mkdir(parents=True, exist_ok=True)
    (lab.group / node).mkdir(parents=True, exist_ok=True)


def add_number(lab: Lab, number: int, *, far: bool) -> Lab:
    """Return the lab with one node more."""
    nodes = tuple(sorted({*lab.nodes, number}))
    return replace(lab, nodes=nodes, far=(*lab.far, number) if far else lab.far)


async def _wait_for_api(lab: Lab) -> None:
    async with Client.connect(str(lab.kubeconfig)) as client:
        await cluster.wait_for(
            "API server",
            lambda: cluster.api_missing(client),
            deadline_s=20,
            hint=lambda: control.trouble(lab) or f"see {lab.logs}/api.log",
        )


async def _router_missing(lab: Lab, plan: parts.RouterPlan) -> str:
    def ask() -> str:
        result = subprocess.run(list(plan.ready), check=False, capture_output=True, text=True)
        return "" if result.returncode == 0 else (result.stderr or result.stdout or "not ready")

    return " ".join(namespace.call_in(lab.netns(ROUTER), ask).split())
