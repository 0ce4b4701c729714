"""The lab's frame on the real kernel: it comes up, keeps processes, breaks on demand, and goes."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2.ethtool.ioctl import IoctlEthtool

from cairn.lab import control, faults
from cairn.lab.hosts import build_network, plug_in, unplug
from cairn.lab.keeper import exit_text
from cairn.lab.loopback import free_port
from cairn.lab.process_record import LISTENER, Process
from cairn.lab.state import Lab, LabError, exclusive, save_lab
from cairn.lab.teardown import find_traces, take_down
from cairn.lab.topology import home_network, node_host
from cairn.linux import cgroup, mount, namespace
from cairn.linux.process import Identity, is_alive, send_signal, wait_gone
from cairn.linux.sysctl import read_setting
from cairn.linux.system_call import Clone

pytestmark = pytest.mark.root

CAIRN = [sys.executable, "-m", "cairn"]
SLEEP = ("sleep", "1000")


def make_lab(nodes: tuple[int, ...] = (1, 2)) -> Lab:
    """Return the record of a lab that nobody else has."""
    name = f"ct{uuid.uuid4().hex[:8]}"
    lab = Lab(name, nodes, port=free_port(set()))
    save_lab(lab)
    return lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = make_lab()
    build_network(lab, home_network(lab.nodes))
    yield lab
    assert take_down(lab) == []


@pytest.fixture
def supervised(lab: Lab) -> Lab:
    control.start_supervisor(lab)
    return lab


def eventually(check: Callable[[], Any], deadline_s: float = 10.0) -> Any:
    end = time.monotonic() + deadline_s
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < end, "the condition did not come to hold"
        time.sleep(0.02)


def cairn(*words: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CAIRN, *words], capture_output=True, text=True, timeout=60, check=False, **kwargs
    )


def reaches(lab: Lab, host: str, address: str) -> bool:
    command = ["ping", "-c1", "-W1", "-q", address]

    def run() -> int:
        return subprocess.run(command, capture_output=True, check=False).returncode

    return namespace.call_in(lab.netns(host), run) == 0


def row(lab: Lab, name: str) -> dict[str, Any]:
    return next(r for r in control.processes(lab) if r["name"] == name)


def identity(lab: Lab, name: str) -> Identity:
    found = eventually(lambda: row(lab, name)["identity"])
    return Identity(**found)


def traces_on_machine(lab: Lab) -> list[str]:
    """Return everything on the machine with the lab's name in it, found by other means."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    found = [line for line in listed.stdout.splitlines() if lab.name in line]
    found += [m.target for m in mount.mounts() if lab.name in m.target]
    for root in (cgroup.unified_root(), Path("/run/cairn"), Path("/var/lib/cairn/lab"), lab.pins):
        found += [str(p) for p in root.glob(f"*{lab.name}*")]
    return found


def supervisor_pid(lab: Lab) -> int:
    return int((lab.run / "supervise.lock").read_text() or 0)


def test_every_host_reaches_every_other(lab: Lab) -> None:
    hosts = home_network(lab.nodes).hosts
    for host in hosts:
        for other in hosts:
            for address in other.addresses:
                assert reaches(lab, host.name, address), f"{host.name} -> {other.name} {address}"


def test_building_again_mends_only_what_is_missing(lab: Lab) -> None:
    topology = home_network(lab.nodes)
    assert build_network(lab, topology) == []
    namespace.delete(lab.netns("client-1"))
    assert build_network(lab, topology) == ["client-1"]
    assert reaches(lab, "client-1", "192.168.1.10")


def test_settings_of_a_node(lab: Lab) -> None:
    def read(name: str) -> str | None:
        return namespace.call_in(lab.netns("node-1"), read_setting, name)

    assert read("net.ipv4.ip_forward") == "1"
    assert read("net.ipv4.conf.all.rp_filter") == "0"
    assert namespace.call_in(lab.netns("client-1"), read_setting, "net.ipv4.ip_forward") == "0"


def test_checksums_are_computed_where_clients_and_router_send(lab: Lab) -> None:
    def computed(name: str) -> bool:
        return bool(IoctlEthtool(name).get_offload_flags()["tx-checksumming"] == 0)

    offloads = {
        (host.name, i.name): not namespace.call_in(lab.netns(host.name), computed, i.name)
        for host in home_network(lab.nodes).hosts
        for i in host.interfaces
    }
    assert offloads["router", "eth0"] is offloads["router", "eth1"] is False
    assert offloads["client-1", "eth0"] is False
    assert offloads["node-1", "eth0"] is True


def test_a_node_comes_and_goes_without_touching_others(lab: Lab) -> None:
    assert plug_in(lab, node_host(5))
    assert eventually(lambda: reaches(lab, "client-1", "192.168.1.14"))
    assert unplug(lab, "node-5")
    assert not reaches(lab, "client-1", "192.168.1.14")
    assert reaches(lab, "client-1", "192.168.1.10")


def test_process_runs_in_its_hosts_namespace_and_group(supervised: Lab) -> None:
    lab = supervised
    control.run(lab, Process("sleeper", "node-1", SLEEP, {"COLOUR": "blue"}))
    pid = identity(lab, "sleeper").pid
    assert os.stat(f"/proc/{pid}/ns/net").st_ino == namespace.inode(lab.netns("node-1"))
    assert pid in cgroup.processes(lab.group / "node-1")
    assert b"COLOUR=blue" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert f"CAIRN_LAB={lab.name}".encode() in Path(f"/proc/{pid}/environ").read_bytes()


def test_process_that_is_killed_comes_back_and_is_counted(supervised: Lab) -> None:
    lab = supervised
    control.run(lab, Process("sleeper", "node-1", SLEEP))
    first = identity(lab, "sleeper")
    faults.inject(lab, "kill", "sleeper")
    eventually(lambda: row(lab, "sleeper")["restarts"] == 1)
    assert identity(lab, "sleeper") != first
    assert row(lab, "sleeper")["last_exit"] == "signal KILL"


def test_children_of_an_ended_process_do_not_linger(supervised: Lab) -> None:
    lab = supervised
    script = "setsid sleep 4242 & echo $! > $0; sleep 0.2; exit 3"
    mark = lab.run / "child"
    control.run(lab, Process("parent", "node-1", ("sh", "-c", script, str(mark))))
    child = int(eventually(lambda: mark.exists() and mark.read_text().strip()))
    eventually(lambda: row(lab, "parent")["last_exit"] == "exit 3")
    eventually(lambda: not Path(f"/proc/{child}").exists())


def test_program_that_does_not_exist_is_said(supervised: Lab) -> None:
    control.run(supervised, Process("ghost", "node-1", ("/no/such/program",)))
    found = row(supervised, "ghost")
    assert "cannot start" in found["last_exit"]
    assert "/no/such/program" in found["last_exit"]
    assert found["state"] == "restarting"


def test_process_of_a_lost_host_says_so(supervised: Lab) -> None:
    namespace.delete(supervised.netns("client-2"))
    control.run(supervised, Process("lost", "client-2", SLEEP))
    assert "the namespace of client-2 is gone" in row(supervised, "lost")["last_exit"]
    assert "lost: cannot start" in control.trouble(supervised)


def test_stop_is_polite_and_lasts_until_start(supervised: Lab) -> None:
    lab = supervised
    script = "trap 'echo bye; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    control.run(lab, Process("polite", "node-2", ("sh", "-c", script)))
    log = lab.logs / "polite.log"
    eventually(lambda: "ready" in log.read_text())
    faults.inject(lab, "stop", "polite")
    assert "bye" in log.read_text()
    assert row(lab, "polite")["state"] == "stopped"
    assert faults.active(lab)[0].text == "stop polite"
    assert [one.text for one in faults.clear(lab)] == ["stop polite"]
    eventually(lambda: row(lab, "polite")["state"] == "running")


def test_changed_process_is_replaced_and_equal_one_is_not(supervised: Lab) -> None:
    lab = supervised
    control.run(lab, Process("sleeper", "node-1", SLEEP))
    first = identity(lab, "sleeper")
    control.run(lab, Process("sleeper", "node-1", SLEEP))
    assert identity(lab, "sleeper") == first
    control.run(lab, Process("sleeper", "node-1", ("sleep", "2000")))
    assert identity(lab, "sleeper") != first
    control.command(lab, "forget", "sleeper")
    assert control.processes(lab) == []


def test_listener_is_kept_while_its_server_restarts(supervised: Lab) -> None:
    lab = supervised
    code = (
        "import socket,sys\n"
        "s=socket.socket(fileno=int(sys.argv[1]))\n"
        "c,_=s.accept(); c.sendall(b'hello'); c.close()\n"
    )
    control.run(lab, Process("server", "control-plane", (sys.executable, "-c", code, LISTENER)))
    eventually(lambda: row(lab, "server")["state"] == "running")
    get = ["curl", "-s", "--http0.9", "--max-time", "10", f"http://127.0.0.1:{lab.port}"]
    for _ in range(3):  # the server ends after each answer; nobody is refused meanwhile
        answer = subprocess.run(get, capture_output=True, text=True, check=False)
        assert answer.stdout == "hello"


def test_killed_supervisor_loses_nothing_and_the_next_adopts(supervised: Lab) -> None:
    lab = supervised
    control.run(lab, Process("sleeper", "node-1", SLEEP))
    before, old = identity(lab, "sleeper"), supervisor_pid(lab)
    os.kill(old, signal.SIGKILL)
    eventually(lambda: supervisor_pid(lab) != old and control.is_supervised(lab))
    assert is_alive(before)
    assert identity(lab, "sleeper") == before
    send_signal(before, signal.SIGKILL)
    eventually(lambda: row(lab, "sleeper")["restarts"] == 1)
    assert identity(lab, "sleeper") != before


def test_all_of_the_supervisor_killed_is_healed_by_starting_it(supervised: Lab) -> None:
    lab = supervised
    control.run(lab, Process("sleeper", "node-1", SLEEP))
    before = identity(lab, "sleeper")
    cgroup.kill(lab.group / "supervisor")
    assert not control.is_supervised(lab)
    assert is_alive(before)
    control.start_supervisor(lab)
    assert identity(lab, "sleeper") == before


def test_one_supervisor_a_lab(supervised: Lab) -> None:
    second = cairn("lab", "supervise", "--name", supervised.name, "--foreground")
    assert second.returncode == 1
    assert "already has a supervisor" in second.stderr


def test_down_leaves_nothing_after_a_crash_of_everything(tmp_path: Path) -> None:
    mount.ensure_bpffs()
    (tmp_path / "mine").touch()
    lab = make_lab()
    build_network(lab, home_network(lab.nodes))
    control.start_supervisor(lab)
    control.run(lab, Process("sleeper", "node-1", SLEEP))
    sleeper = identity(lab, "sleeper")
    cgroup.kill(lab.group / "supervisor")
    folder = lab.node_files("node-1") / "mnt"
    folder.mkdir(parents=True)
    mount.bind(tmp_path, folder)
    (lab.pins / "node-1").mkdir(parents=True)
    namespace.create(lab.netns("pod-12345678"))
    cgroup.freeze(lab.group / "node-1", frozen=True)
    (lab.run / "lab.json").write_text("{ half")
    assert len(traces_on_machine(lab)) > 5
    down = cairn("lab", "down", "--name", lab.name)
    assert down.stderr == ""
    assert down.returncode == 0
    assert wait_gone(sleeper, deadline_s=1)
    assert traces_on_machine(lab) == []
    assert (tmp_path / "mine").exists(), "what was bound into the lab stays"


def test_down_of_half_a_lab_and_of_none() -> None:
    lab = make_lab()
    namespace.create(lab.netns("router"))
    down = cairn("lab", "down", "--name", lab.name)
    assert down.returncode == 0
    assert traces_on_machine(lab) == []
    again = cairn("lab", "down", "--name", lab.name)
    assert again.returncode == 0
    assert "nothing to do" in again.stdout


def test_down_names_a_stranger_in_its_namespaces() -> None:
    lab = make_lab()
    build_network(lab, home_network(lab.nodes))
    path = namespace.netns_path(lab.netns("client-1"))
    stranger = subprocess.Popen(["nsenter", f"--net={path}", *SLEEP])
    try:
        eventually(lambda: stranger.pid in find_traces(lab).strangers)
        down = cairn("lab", "down", "--name", lab.name)
        assert down.returncode == 1
        assert str(stranger.pid) in down.stderr
        assert traces_on_machine(lab) == []
    finally:
        stranger.kill()
        stranger.wait()


def test_state_folder_of_the_users_own_is_kept(tmp_path: Path) -> None:
    name = f"ct{uuid.uuid4().hex[:8]}"
    lab = Lab(name, (1,), state=str(tmp_path))
    save_lab(lab)
    (tmp_path / "api").mkdir()
    down = cairn("lab", "down", "--name", name)
    assert down.returncode == 0
    assert str(tmp_path) in down.stdout
    assert (tmp_path / "api").is_dir()
    assert traces_on_machine(lab) == []


def test_two_labs_side_by_side(lab: Lab) -> None:
    other = make_lab((1,))
    try:
        assert other.port != lab.port or not lab.kubeconfig.exists()
        build_network(other, home_network(other.nodes))
        assert reaches(other, "client-1", "192.168.1.10")
        assert not reaches(other, "client-1", "192.168.1.11"), "that is the first lab's node"
        assert reaches(lab, "client-1", "192.168.1.11")
    finally:
        assert take_down(other) == []
    assert reaches(lab, "client-1", "192.168.1.11")


def test_one_command_at_a_time_changes_a_lab(lab: Lab) -> None:
    with exclusive(lab):
        busy = cairn("lab", "down", "--name", lab.name)
    assert busy.returncode == 1
    assert "another command is changing" in busy.stderr
    assert len(busy.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("argv", "status"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 7"], 7),
        (["no-such-command"], 127),
        (["/etc/hosts"], 126),
    ],
)
def test_exec_passes_the_exit_status_on(lab: Lab, argv: list[str], status: int) -> None:
    done = cairn("lab", "exec", "--name", lab.name, "client-1", "--", *argv)
    assert done.returncode == status, done.stderr


def test_exec_sees_the_hosts_network_names_and_pins(lab: Lab) -> None:
    mount.ensure_bpffs()
    (lab.pins / "node-1" / "cairn").mkdir(parents=True)
    (lab.node_files("node-1") / "run/cairn").mkdir(parents=True)
    script = (
        "hostname -I; for family in 4 6; do getent ahostsv$family router | head -1; done;"
        "ls /sys/fs/bpf; ls /run/cairn | wc -l; cat -"
    )
    done = cairn(
        *("lab", "exec", "--name", lab.name, "node-1", "--", "sh", "-c", script), input="typed\n"
    )
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert lines == [
        "192.168.1.10 fd00:1::a",
        "192.168.1.1 STREAM router",
        "fd00:1::1 STREAM router",
        "cairn",
        "0",
        "typed",
    ], done.stderr
    assert (lab.run / "lab.json").exists(), "the machine itself sees what it saw"


def test_exec_in_a_pod_joins_all_its_namespaces(lab: Lab) -> None:
    name = lab.netns("pod-0badcafe")
    namespace.create(name)
    group = cgroup.create(lab.group / "node-1/pods/0badcafe")
    inner = "hostname web-1; mount -t proc proc /proc; sleep 1000"
    command = [
        "unshare",
        "--fork",
        "--kill-child",
        "--pid",
        "--uts",
        "--ipc",
        "--mount",
        "sh",
        "-c",
        inner,
    ]
    outer = subprocess.Popen(["nsenter", f"--net={namespace.netns_path(name)}", *command])
    try:
        cgroup.join(group, outer.pid)
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        pid = int(eventually(lambda: children.exists() and children.read_text().strip()))
        eventually(lambda: cgroup_hostname(pid) == "web-1")
        record = lab.pod_record("default", "web-1")
        record.parent.mkdir(parents=True)
        record.write_text(
            json.dumps(
                {
                    "netns": str(namespace.netns_path(name)),
                    "pids": {"web": pid},
                    "cgroup": str(group),
                }
            )
        )
        script = (
            "hostname; ls /sys/class/net >/dev/null; ps -o pid= -p 1; ip -o link | wc -l; exit 9"
        )
        done = cairn(
            *("lab", "exec", "--name", lab.name, "pod/default/web-1", "--", "sh", "-c", script)
        )
        assert done.stdout.split() == ["web-1", "1", "1"], done.stderr
        assert done.returncode == 9
    finally:
        outer.kill()
        outer.wait()


def cgroup_hostname(pid: int) -> str:
    done = subprocess.run(
        ["nsenter", f"--uts=/proc/{pid}/ns/uts", "hostname"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def test_exec_names_what_one_could_have_meant(lab: Lab) -> None:
    done = cairn("lab", "exec", "--name", lab.name, "node-9", "--", "true")
    assert done.returncode == 1
    assert "node-1" in done.stderr
    assert "client-1" in done.stderr
    gone = cairn("lab", "exec", "--name", lab.name, "pod/default/none", "--", "true")
    assert "no pod/default/none runs" in gone.stderr


LASTING = [("link-down", ""), ("partition", ""), ("drop-arp", ""), ("loss", "100")]


@pytest.mark.parametrize(("name", "value"), LASTING)
def test_fault_cuts_a_host_off_and_clear_heals(lab: Lab, name: str, value: str) -> None:
    def forget_neighbours() -> None:
        subprocess.run(["ip", "neigh", "flush", "all"], check=False, capture_output=True)

    assert reaches(lab, "node-1", "192.168.1.11")
    faults.inject(lab, name, "node-1", value)
    for host in ("node-1", "node-2"):
        namespace.call_in(lab.netns(host), forget_neighbours)
    assert not reaches(lab, "node-1", "192.168.1.11")
    assert not reaches(lab, "node-2", "192.168.1.10")
    assert reaches(lab, "node-2", "192.168.1.1"), "others are untouched"
    assert [one.name for one in faults.active(lab)] == [name]
    faults.clear(lab)
    eventually(lambda: reaches(lab, "node-1", "192.168.1.11"))
    assert faults.active(lab) == []


def test_link_down_is_carrier_loss_and_partition_is_not(lab: Lab) -> None:
    def carrier() -> str:
        command = ["ip", "-o", "link", "show", "eth0"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    faults.inject(lab, "partition", "node-1")
    assert "LOWER_UP" in namespace.call_in(lab.netns("node-1"), carrier)
    faults.inject(lab, "link-down", "node-1")
    assert "LOWER_UP" not in namespace.call_in(lab.netns("node-1"), carrier)


def test_a_process_that_dies_on_a_paused_host_does_not_hang_the_supervisor(supervised: Lab) -> None:
    lab = supervised
    control.run(lab, Process("sleeper", "node-1", SLEEP))
    faults.inject(lab, "pause", "node-1")
    faults.inject(lab, "kill", "sleeper")
    eventually(lambda: "node-1 is paused" in (row(lab, "sleeper")["last_exit"] or ""))
    assert faults.clear(lab, "pause", "node-1")
    eventually(lambda: row(lab, "sleeper")["state"] == "running")


def test_pause_stops_a_hosts_processes_until_resume(supervised: Lab) -> None:
    lab = supervised
    script = "while :; do echo tick; sleep 0.02; done"
    control.run(lab, Process("clock", "node-1", ("sh", "-c", script)))
    log = lab.logs / "clock.log"
    eventually(lambda: log.exists() and log.stat().st_size > 0)
    faults.inject(lab, "pause", "node-1")
    eventually(lambda: "frozen 1" in (lab.group / "node-1/cgroup.events").read_text())
    size = log.stat().st_size
    time.sleep(0.2)
    assert log.stat().st_size == size
    assert faults.clear(lab, "pause", "node-1")
    eventually(lambda: log.stat().st_size > size)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("earthquake", "node-1"), "there are: link-down"),
        (("link-down", "node-7"), "no host 'node-7'"),
        (("link-down",), "usage"),
        (("loss", "node-1"), "usage"),
        (("loss", "node-1", "200"), "1 to 100"),
    ],
)
def test_wrong_fault_is_one_clear_line(lab: Lab, words: tuple[str, ...], says: str) -> None:
    with pytest.raises(LabError, match=says):
        faults.inject(lab, *words, *("",) * (2 - len(words)))


def test_no_root_is_one_clear_line() -> None:
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *CAIRN, "lab", "up"],
        capture_output=True, text=True, check=False, cwd="/",
    )  # fmt: skip
    assert done.returncode == 1
    assert "needs root" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_namespace_that_is_made_by_hand_goes_and_comes() -> None:
    name = f"ct-{uuid.uuid4().hex[:8]}"
    with namespace.temporary(name):
        with pytest.raises(FileExistsError):
            namespace.create(name)
        inside = namespace.call_in(name, os.stat, "/proc/thread-self/ns/net")
        assert inside.st_ino == namespace.inode(name)
        assert os.stat("/proc/thread-self/ns/net").st_ino != inside.st_ino
    assert not namespace.exists(name)
    assert not namespace.delete(name)
    with pytest.raises(FileNotFoundError):
        namespace.call_in(name, int)
    assert Clone.NEWNET.name == "NEWNET"
    assert exit_text(0) == "exit 0"
