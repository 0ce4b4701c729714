"""What runs in a lab: the processes that the supervisor keeps, host by host.

    Lab  ->  Process, ...

Invariants  Pure but for the router's plan, which is asked of the router's own package.
Not here    Pods: the kubelets run them.
"""

import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from cairn.lab.parts import RouterPlan, plan_router
from cairn.lab.process_record import LISTENER, Process
from cairn.lab.state import Lab
from cairn.lab.topology import (
    API_ADDRESS,
    API_PORT,
    ASN,
    CONTROL_PLANE,
    FAR_SEGMENT,
    NODES_SEGMENT,
    POD_NETWORKS,
    ROUTER,
    SERVICE_NETWORKS,
    node_name,
)

ROUTER_KINDS = ("cairn", "frr", "bird", "openbgpd")
ROUTER_ADDRESS = "192.168.1.1"


def cairn_command() -> list[str]:
    """Return how to run `cairn` with this very interpreter."""
    script = Path(sys.executable).parent / "cairn"
    if script.exists():
        return [str(script)]
    return [shutil.which("cairn") or str(script)]


def api_process(lab: Lab) -> Process:
    """Return the API server."""
    return Process(
        "api",
        CONTROL_PLANE,
        (
            *cairn_command(),
            "api",
            *("--data", str(lab.durable / "api")),
            *("--pki", str(lab.pki)),
            *("--listen", f"{API_ADDRESS}:{API_PORT}"),
            *("--listen-fd", LISTENER),
            *("--advertise", f"{API_ADDRESS}:{API_PORT}"),
            *(word for network in SERVICE_NETWORKS for word in ("--service-cidr", network)),
        ),
    )


def controllers_process(lab: Lab) -> Process:
    """Return the controllers and the scheduler."""
    kubeconfig = lab.node_kubeconfig("controllers")
    argv = (
        *cairn_command(),
        *("lab", "controllers", "--kubeconfig", str(kubeconfig)),
        *(word for network in POD_NETWORKS for word in ("--pod-cidr", network)),
    )
    return Process("controllers", CONTROL_PLANE, argv)


def kubelet_process(lab: Lab, number: int) -> Process:
    """Return the kubelet of node `number`."""
    node = node_name(number)
    argv = (
        *cairn_command(),
        *("lab", "kubelet", "--lab", lab.name, "--node", node),
        *("--kubeconfig", str(lab.node_kubeconfig(node))),
    )
    return Process(f"kubelet-{node}", node, argv)


def kubelet_processes(lab: Lab) -> list[Process]:
    """Return the kubelets of all nodes."""
    return [kubelet_process(lab, number) for number in lab.nodes]


def router_plan(lab: Lab) -> RouterPlan:
    """Return what it takes to run the lab's router."""
    return plan_router(
        lab.router,
        directory=lab.run / ROUTER,
        asn=ASN,
        router_id=ROUTER_ADDRESS,
        peer_networks=[NODES_SEGMENT.networks[0], FAR_SEGMENT.networks[0]],
        listen=[ROUTER_ADDRESS],
    )


def router_processes(plan: RouterPlan) -> list[Process]:
    """Return the router's daemons, each named `router` or `router-NAME`."""
    return [
        Process(
            _router_name(p.name, len(plan.processes)),
            ROUTER,
            tuple(p.argv),
            dict(p.environment or {}),
            p.user,
        )
        for p in plan.processes
    ]


def router_views(lab: Lab, plan: RouterPlan) -> dict[str, str]:
    """Return, by name, the shell lines of the commands that show the router's state."""
    folder = lab.run / ROUTER
    netstat = [sys.executable, "-m", "cairn.lab.netstat"]
    views = {
        "bgpctl": f'exec {shlex.join(plan.bgpctl)} "$@"',
        "netstat": f'exec {shlex.join(netstat)} "$@"',
    }
    match lab.router:
        case "frr":
            views["vtysh"] = f'exec /usr/bin/vtysh --vty_socket {folder} "$@"'
        case "bird":
            views["birdc"] = f'exec /usr/sbin/birdc -s {folder / "bird.ctl"} "$@"'
    return views


def names_of(processes: Iterable[Process]) -> list[str]:
    """Return the names of the processes."""
    return [process.name for process in processes]


def _router_name(name: str, count: int) -> str:
    return "router" if count == 1 else f"router-{name}"
