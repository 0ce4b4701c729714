"""Faults on demand: break one thing of the lab, see what happens, put it right again.

    fault, target, value  ->  the lab broken in that way, and a record that can undo it

Invariants  Every lasting fault is in /run/cairn/LAB/faults.json until it is cleared.
            A fault touches the switch or the host's control group, never anything that the
            software under test configures.
"""

import json
import signal
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

from cairn.lab import control
from cairn.lab.state import Lab, LabError, WrongUsage, write_whole
from cairn.lab.topology import SWITCH, Host, home_network
from cairn.linux import cgroup, namespace
from cairn.linux.process import Identity, send_signal
from cairn.netlink.iproute import IPRoute


@dataclass(frozen=True, slots=True)
class Active:
    """One fault in force."""

    name: str
    """Its name in the catalogue."""
    target: str
    """Host or process."""
    value: str = ""
    """What the fault needs besides."""

    @property
    def text(self) -> str:
        """As one would type it."""
        return " ".join(word for word in (self.name, self.target, self.value) if word)


Action = Callable[[Lab, str, str], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the catalogue."""

    name: str
    """What the user types."""
    target: str
    """What it is aimed at: HOST or PROCESS."""
    help: str
    """One line for the list."""
    inject: Action
    """Break it."""
    clear: Action | None = None
    """Put it right; None for a fault that does not last."""
    value: str = ""
    """Name of the further value that it needs."""


def inject(lab: Lab, name: str, target: str, value: str = "") -> None:
    """Break the target in the way named; raises LabError for what the catalogue does not hold."""
    fault = find(name)
    if not target or bool(value) != bool(fault.value):
        raise WrongUsage(f"usage: cairn lab fault {usage(fault)}")
    fault.inject(lab, target, value)
    if fault.clear is not None:
        same = [one for one in active(lab) if (one.name, one.target) != (name, target)]
        _save(lab, [*same, Active(name, target, value)])


def clear(lab: Lab, name: str = "", target: str = "") -> list[Active]:
    """Undo the faults in force, or only those of that name and target; return them."""
    chosen = [one for one in active(lab) if name in ("", one.name) and target in ("", one.target)]
    for one in chosen:
        undo = find(one.name).clear
        if undo is not None:
            undo(lab, one.target, one.value)
        _save(lab, [other for other in active(lab) if other != one])
    return chosen


def active(lab: Lab) -> list[Active]:
    """Return the faults in force, oldest first."""
    try:
        return [Active(**raw) for raw in json.loads((lab.run / "faults.json").read_text())]
    except FileNotFoundError:
        return []


def find(name: str) -> Fault:
    """Return the fault of that name; raises LabError."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    names = ", ".join(fault.name for fault in FAULTS)
    raise WrongUsage(f"no fault {name!r}; there are: {names}")


def usage(fault: Fault) -> str:
    """Return how the fault is typed."""
    return " ".join(word for word in (fault.name, fault.target, fault.value) if word)


def _save(lab: Lab, faults: list[Active]) -> None:
    write_whole(lab.run / "faults.json", json.dumps([asdict(one) for one in faults]) + "\n")


def _host(lab: Lab, name: str) -> Host:
    hosts = {host.name: host for host in home_network(lab.nodes, lab.far).hosts}
    if name not in hosts:
        raise LabError(f"no host {name!r} in lab {lab.name}; it has: {', '.join(hosts)}")
    return hosts[name]


def _set_ports(lab: Lab, target: str, _: str, *, up: bool) -> None:
    def change() -> None:
        with IPRoute() as ip:
            for interface in host.interfaces:
                index = ip.link_lookup(ifname=interface.port)[0]
                ip.link("set", index=index, state="up" if up else "down")

    host = _host(lab, target)
    namespace.call_in(lab.netns(SWITCH), change)


def _freeze(lab: Lab, target: str, _: str, *, frozen: bool) -> None:
    group = cgroup.create(lab.group / _host(lab, target).name)
    cgroup.freeze(group, frozen=frozen)


def _filter(lab: Lab, target: str, value: str, *, kind: str, match: str | None) -> None:
    """Drop what matches, both ways, on the switch's ports of the host; None drops nothing."""
    table = f"cairn_fault_{kind}_{target.replace('-', '_')}"
    chains = "".join(
        f"chain {way}{number} {{ type filter hook {way} device {interface.port} priority -500; "
        f"{match} counter drop\n}}\n"
        for number, interface in enumerate(_host(lab, target).interfaces)
        for way in ("ingress", "egress")
    )
    script = f"table netdev {table}\ndelete table netdev {table}\n"
    if match is not None:
        script += f"table netdev {table} {{\n{chains}}}\n"
    _nft(lab.netns(SWITCH), script)


def _nft(netns: str, script: str) -> None:
    def run() -> str:
        result = subprocess.run(
            ["nft", "-f", "-"], input=script, text=True, capture_output=True, check=False
        )
        return result.stderr if result.returncode else ""

    try:
        failed = namespace.call_in(netns, run)
    except FileNotFoundError:
        raise LabError("nft is missing; install it: apt-get install nftables") from None
    if failed:
        raise LabError(f"nft in {netns}: {failed.splitlines()[0]}")


def _lose(lab: Lab, target: str, value: str) -> None:
    if not value.isdigit() or not 0 < int(value) <= 100:
        raise WrongUsage(f"loss of {value!r} percent: use 1 to 100")
    match = "" if value == "100" else f"numgen random mod 100 < {value}"
    _filter(lab, target, value, kind="loss", match=match)


def _kill(lab: Lab, target: str, _: str) -> None:
    for row in control.processes(lab):
        if row["name"] == target:
            if row["identity"] and send_signal(Identity(**row["identity"]), signal.SIGKILL):
                return
            raise LabError(f"process {target} does not run now")
    names = ", ".join(row["name"] for row in control.processes(lab))
    raise LabError(f"no process {target!r} in lab {lab.name}; it has: {names}")


def _command(lab: Lab, target: str, _: str, *, operation: str) -> None:
    control.command(lab, operation, target)


FAULTS = (
    Fault(
        "link-down", "HOST", "pull its cables out of the switch: carrier is lost",
        partial(_set_ports, up=False), partial(_set_ports, up=True),
    ),
    Fault(
        "partition", "HOST", "its ports pass nothing, while carrier stays",
        partial(_filter, kind="partition", match=""),
        partial(_filter, kind="partition", match=None),
    ),
    Fault(
        "drop-arp", "HOST", "ARP is lost both ways",
        partial(_filter, kind="arp", match="meta protocol arp"),
        partial(_filter, kind="arp", match=None),
    ),
    Fault(
        "loss", "HOST", "this percentage of all packets is lost, each way",
        _lose, partial(_filter, kind="loss", match=None), "PERCENT",
    ),
    Fault(
        "pause", "HOST", "all its processes stand still, as in a power-saving bug",
        partial(_freeze, frozen=True), partial(_freeze, frozen=False),
    ),
    Fault("kill", "PROCESS", "kill -9; the supervisor starts it again", _kill),
    Fault(
        "stop", "PROCESS", "stop it politely and keep it stopped",
        partial(_command, operation="stop"), partial(_command, operation="start"),
    ),
    Fault(
        "restart", "PROCESS", "stop it politely and start it",
        partial(_command, operation="restart"),
    ),
)  # fmt: skip

UNDO = {"link-up": "link-down", "resume": "pause", "start": "stop", "heal": "partition"}
"""Words that clear one kind of fault."""
