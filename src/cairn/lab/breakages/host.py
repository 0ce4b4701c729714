"""Faults of a machine: its processes, kernel settings, routes, addresses and firewall.

    host  ->  a freezer, a sysctl, `ip`, `tc` or `nft` in its namespace, as its owner may do

Invariants  A setting's old value is part of the record, and is what comes back.
"""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator, Sequence

from cairn.lab import control
from cairn.lab.breakages import wire
from cairn.lab.breakages.wire import run_nft
from cairn.lab.fault import Active, host_of
from cairn.lab.state import Lab, LabError
from cairn.lab.topology import API_ADDRESS, home_network
from cairn.linux import cgroup, namespace
from cairn.linux.process import Identity, send_signal
from cairn.linux.sysctl import read_setting, write_settings

OWN_PODS = ("cairn", "hubble-relay")
"""How names of Cairn's pods begin."""


def freeze(lab: Lab, target: str, _: str) -> None:
    """Let all processes of a host stand still."""
    cgroup.freeze(cgroup.create(lab.group / host_of(lab, target).name), frozen=True)


def thaw(lab: Lab, active: Active) -> None:
    """Let them go on."""
    cgroup.freeze(cgroup.create(lab.group / host_of(lab, active.target).name), frozen=False)


def kill(lab: Lab, target: str, _: str) -> None:
    """Kill a process of the lab; its supervisor starts it again."""
    _signal(lab, target, signal.SIGKILL)


def stop_process(lab: Lab, target: str, _: str) -> None:
    """Let a process of the lab stand still, as a program that hangs does."""
    _signal(lab, target, signal.SIGSTOP)


def continue_process(lab: Lab, active: Active) -> None:
    """Let it go on."""
    _signal(lab, active.target, signal.SIGCONT)


def _signal(lab: Lab, target: str, number: signal.Signals) -> None:
    rows = control.processes(lab)
    for row in rows:
        if row["name"] == target:
            if row["identity"] and send_signal(Identity(**row["identity"]), number):
                return
            raise LabError(f"process {target} does not run now")
    names = ", ".join(row["name"] for row in rows)
    raise LabError(f"no process {target!r} in lab {lab.name}; it has: {names}")


def order(lab: Lab, target: str, _: str, *, operation: str) -> None:
    """Have the supervisor stop, start or restart a process."""
    control.command(lab, operation, target)


def start(lab: Lab, active: Active) -> None:
    """Have the supervisor start a process."""
    control.command(lab, "start", active.target)


def set_kernel(lab: Lab, target: str, _: str, *, settings: dict[str, str]) -> dict[str, str]:
    """Write kernel settings of a host; return the old ones."""

    def change() -> dict[str, str]:
        old = {name: read_setting(name) or "" for name in settings}
        write_settings(settings)
        return old

    return namespace.call_in(lab.netns(host_of(lab, target).name), change)


def reset_kernel(lab: Lab, active: Active) -> None:
    """Write the old ones back."""
    namespace.call_in(lab.netns(active.target), write_settings, dict(active.before))


def firewall(lab: Lab, target: str, _: str, *, kind: str, hook: str, match: str) -> None:
    """Load a rule into a host's nftables that drops what matches, as another firewall would."""
    table = f"inet other_{kind}"
    run_nft(
        lab.netns(host_of(lab, target).name),
        f"table {table}\ndelete table {table}\ntable {table} {{ chain own {{ "
        f"type filter hook {hook} priority -10; {match} counter drop\n}}\n}}\n",
    )


def open_firewall(lab: Lab, active: Active, *, kind: str) -> None:
    """Take the rule out."""
    table = f"inet other_{kind}"
    run_nft(lab.netns(active.target), f"table {table}\ndelete table {table}\n")


def ip_command(lab: Lab, target: str, _: str, *, words: str) -> None:
    """Run `ip` on a host."""
    run_on(lab, host_of(lab, target).name, ["ip", *words.split()])


def undo_ip(lab: Lab, active: Active, *, words: str) -> None:
    """Run the `ip` that takes it back; what is gone already is well."""
    run_on(lab, active.target, ["ip", *words.split()], missing_is_well=True)


def take_address(lab: Lab, target: str, value: str) -> None:
    """Let a host have an address that is another's, and say so to its segment."""
    host = host_of(lab, target)
    length = 128 if ":" in value else 32
    device = host.interfaces[0].name
    run_on(lab, host.name, ["ip", "address", "replace", f"{value}/{length}", "dev", device])
    if length == 32:
        mac = bytes.fromhex(host.interfaces[0].mac.replace(":", ""))
        namespace.call_in(lab.netns(host.name), _claim, device, mac, value)


def _claim(device: str, mac: bytes, address: str) -> None:
    """Send a gratuitous ARP request, as a host does that gets an address (RFC 5227 s2.3)."""
    own = socket.inet_aton(address)
    ethernet = b"\xff" * 6 + mac + b"\x08\x06"
    arp = bytes.fromhex("0001080006040001") + mac + own + bytes(6) + own
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as packet:
        packet.bind((device, 0))
        packet.send(ethernet + arp)


def leave_address(lab: Lab, active: Active) -> None:
    """Take the address from the host; its segment learns of the right one when it asks again."""
    host = host_of(lab, active.target)
    length = 128 if ":" in active.value else 32
    words = ["ip", "address", "del", f"{active.value}/{length}", "dev", host.interfaces[0].name]
    run_on(lab, host.name, words, missing_is_well=True)
    _forget(lab, active.value)


def lose_arp(lab: Lab, target: str, value: str) -> None:
    """Drop ARP, when the entries that a host and the others have of each other have run out."""
    wire.drop(lab, target, value, kind="arp", match=wire.ARP)
    host = host_of(lab, target)
    run_on(lab, host.name, ["ip", "-4", "neigh", "flush", "all"], missing_is_well=True)
    for address in host.addresses:
        _forget(lab, address)


def lose_api(lab: Lab, target: str, value: str) -> None:
    """Drop what goes to the API server and comes from it; connections to it have broken."""
    wire.drop(lab, target, value, kind="api", match=wire.API)
    run_on(lab, host_of(lab, target).name, ["ss", "-K", "dst", API_ADDRESS], missing_is_well=True)


def _forget(lab: Lab, address: str) -> None:
    """Have every host ask for an address again."""
    for host in home_network(lab.nodes, lab.far).hosts:
        run_on(lab, host.name, ["ip", "neigh", "flush", "to", address], missing_is_well=True)


def stop_container(lab: Lab, target: str, _: str, *, container: str) -> None:
    """Let one container of Cairn on a node stand still, as a program that hangs does."""
    _signal_container(lab, target, container, signal.SIGSTOP)


def continue_container(lab: Lab, active: Active, *, container: str) -> None:
    """Let it go on."""
    _signal_container(lab, active.target, container, signal.SIGCONT)


def _signal_container(lab: Lab, node: str, container: str, number: signal.Signals) -> None:
    pid = container_pid(lab, host_of(lab, node).name, container)
    for one in (pid, *descendants(pid)):
        os.kill(one, number)


def container_pid(lab: Lab, node: str, container: str) -> int:
    """Return the process of a container of Cairn's own pods on a node; raises LabError."""
    for name, pid in _containers(lab, node):
        if name == container:
            return pid
    raise LabError(f"no container {container!r} of Cairn runs on {node}")


def container_pids(lab: Lab, node: str) -> list[int]:
    """Return the processes of all containers of Cairn's own pods on a node."""
    return [pid for _, pid in _containers(lab, node)]


def _containers(lab: Lab, node: str) -> Iterator[tuple[str, int]]:
    for path in lab.run.glob("pods/kube-system/*.json"):
        if not path.name.startswith(OWN_PODS):
            continue  # the cluster's DNS has a container that is called as one of Cairn's
        record = json.loads(path.read_text())
        if record["node"] == node:
            yield from record["pids"].items()


def descendants(pid: int) -> list[int]:
    """Return a process's children and theirs."""
    found: list[int] = []
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children = [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []
    for child in children:
        found += [child, *descendants(child)]
    return found


def run_on(lab: Lab, host: str, argv: Sequence[str], *, missing_is_well: bool = False) -> str:
    """Run a command in a host's network namespace; return what it printed, or raise LabError.

    `missing_is_well`: what is to be removed may be gone.
    """

    def run() -> "subprocess.CompletedProcess[str]":
        return subprocess.run(argv, text=True, capture_output=True, check=False)

    try:
        done = namespace.call_in(lab.netns(host), run)
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is missing on this machine; install it") from None
    if done.returncode and not missing_is_well:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise LabError(f"{' '.join(argv)} on {host}: {said[0]}")
    return done.stdout
