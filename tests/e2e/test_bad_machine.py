"""What a machine may lack or run out of, and what a peer may send: one clear line each."""

import contextlib
import fcntl
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from conftest import remains
from lab_run import CAIRN, KUBECTL, NODES, PYTHON, LabRun, run, wait_for
from test_bad_input import sessions

from cairn.api.kubeconfig import write_kubeconfig
from cairn.lab.loopback import FIRST_PORT, free_port

pytestmark = [pytest.mark.lab, pytest.mark.root]

NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
NAME = f"bad{os.getpid() % 100000}"


def cairn(
    *argv: str,
    before: tuple[str, ...] = (),
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 60,
) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end; a traceback is never right."""
    done = subprocess.run(
        (*before, CAIRN, *argv),
        text=True,
        capture_output=True,
        timeout=timeout_s,
        env=dict(os.environ | (environment or {})),
    )
    assert "Traceback" not in done.stdout + done.stderr
    return done


def complaint(done: "subprocess.CompletedProcess[str]", code: int = 1) -> str:
    """Return the one line that a failed command wrote."""
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize("words", [("lab", "up"), ("lab", "down"), ("lab", "status")])
def test_without_root(words: tuple[str, ...]) -> None:
    found = complaint(cairn(*words, "--name", NAME, before=NOBODY))
    assert f"cairn {' '.join(words)} needs root" in found
    assert "sudo" in found


def test_a_missing_tool_is_named_with_its_package() -> None:
    places = " ".join(sorted({os.path.realpath(shutil.which("nft") or ""), "/usr/sbin/nft"}))
    # In a mount namespace of its own, what is no program stands where nft was.
    script = f'for f in {places}; do mount --bind /dev/null $f; done; exec "$@"'
    before = ("unshare", "--mount", "sh", "-c", script, "sh")
    found = complaint(cairn("lab", "up", "--name", NAME, before=before))
    assert "nft is missing; install it: apt-get install nftables" in found
    assert remains(NAME) == {}


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("nope",),
        ("lab",),
        ("lab", "nope"),
        ("lab", "up", "--nodes", "0"),
        ("lab", "up", "--nodes", "many"),
        ("lab", "up", "--router", "quagga"),
        ("lab", "up", "--name", "Not_A_Name"),
        ("lab", "exec"),
        ("lab", "fault", "nope", "--name"),
        ("status", "-o", "xml"),
        ("bgpctl", "nope"),
        ("api",),
        ("agent", "--nope"),
        ("router",),
        ("operator", "--nope"),
        ("crds", "--nope"),
    ],
    ids=" ".join,
)
def test_wrong_usage(argv: tuple[str, ...]) -> None:
    done = cairn(*argv)
    assert done.returncode == 2, done.stderr
    assert done.stdout + done.stderr


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("lab", "status", "--name", "nolab"), "no lab 'nolab' runs here; start it with"),
        (("lab", "kubeconfig", "--name", "nolab"), "no lab 'nolab' runs here"),
        (("lab", "exec", "--name", "nolab", "router", "--", "true"), "no lab 'nolab'"),
        (("lab", "up", "--name", NAME, "--manifests", "/nowhere"), "/nowhere"),
        (("lab", "up", "--name", NAME, "--state", "/proc/none"), "--state /proc/none"),
        (("status", "--kubeconfig", "/nowhere"), "/nowhere: No such file"),
        (("operator", "--kubeconfig", "/nowhere"), "/nowhere: No such file"),
        (("router", "--config", "/nowhere"), "/nowhere"),
        (("api", "--data", "/proc/none"), "/proc/none"),
    ],
)
def test_what_is_not_there(argv: tuple[str, ...], words: str) -> None:
    assert words in complaint(cairn(*argv))
    assert remains(NAME) == {}


def test_exit_codes_of_the_read_commands(lab: LabRun) -> None:
    named = ("--name", lab.name)
    wait_for("health", lambda: cairn("lab", "status", *named).returncode == 0)
    kubeconfig = ("--kubeconfig", lab.kubeconfig)
    for form in ("table", "json", "yaml"):
        wait_for("health", lambda: cairn("status", *kubeconfig).returncode == 0)
        assert cairn("status", "-o", form, *kubeconfig).returncode == 0
        assert cairn("lab", "status", "-o", form, *named).returncode == 0
    lab.cairn("lab", "fault", "--name", lab.name, "link-down", "client-2")
    try:
        found = cairn("lab", "status", *named)
        assert found.returncode == 1
        assert "fault in force: " in found.stdout
    finally:
        lab.cairn("lab", "fault", "--name", lab.name, "clear")
    assert cairn("lab", "status", *named).returncode == 0


def test_a_second_lab_of_the_same_name(lab: LabRun) -> None:
    before = sessions(lab)
    found = complaint(cairn("lab", "up", "--name", lab.name, "--router", "frr"))
    assert f"lab {lab.name} is up already, with router cairn; take it down first" in found
    folder = os.open(f"/run/cairn/{lab.name}", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        for words in (("lab", "up"), ("lab", "down")):
            found = complaint(cairn(*words, "--name", lab.name))
            assert f"another command is changing lab {lab.name}" in found
    finally:
        os.close(folder)
    again = cairn("lab", "up", "--name", lab.name)
    assert again.returncode == 0, again.stderr
    assert "was up already" in again.stdout
    assert sessions(lab) == before


@contextlib.contextmanager
def listening(*ports: int) -> Iterator[None]:
    """Hold ports on loopback; those that are taken already are held well enough."""
    with contextlib.ExitStack() as stack:
        for port in ports:
            holder = stack.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                holder.bind(("127.0.0.1", port))
                holder.listen()
        yield


def test_a_port_in_use_is_passed_over() -> None:
    wanted = free_port(set())
    with listening(wanted):
        small = LabRun(NAME, "--nodes", "1", "--no-scenario")
        try:
            small.up()
            (port,) = re.findall(
                r"server: https://127.0.0.1:(\d+)", Path(small.kubeconfig).read_text()
            )
            assert int(port) != wanted
            assert "node-1" in small.kubectl("get", "nodes")
        finally:
            small.down()
    assert remains(NAME) == {}


def test_no_port_is_left() -> None:
    with listening(*range(FIRST_PORT, FIRST_PORT + 64)):
        found = complaint(cairn("lab", "up", "--name", NAME))
    assert "no free port on 127.0.0.1 from 16443 to 16506" in found
    assert "ss -ltnp" in found
    assert remains(NAME) == {}


def test_the_api_server_names_the_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        where = f"127.0.0.1:{holder.getsockname()[1]}"
        found = complaint(cairn("api", "--data", str(tmp_path / "data"), "--listen", where))
    assert f"cannot listen on {where} (Address already in use)" in found


class SmallServer:
    """`cairn api` with its data on a disk of a few megabytes."""

    def __init__(self, folder: Path, disk: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{probe.getsockname()[1]}"
        self._folder = folder
        self.data, self.pki = disk / "data", folder / "pki"
        self.log = folder / "api.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        said = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            words = (CAIRN, "api", "--data", str(self.data), "--pki", str(self.pki))
            self._process = subprocess.Popen((*words, "--listen", self.address), stderr=log)
        wait_for("API server", lambda: "serving on" in self.log.read_text()[said:])
        write_kubeconfig(
            self._folder / "kubeconfig",
            f"https://{self.address}",
            ca_pem=(self.pki / "ca.crt").read_bytes(),
            client=((self.pki / "admin.crt").read_bytes(), (self.pki / "admin.key").read_bytes()),
        )

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait(10)

    def kubectl(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        words = (KUBECTL, "--kubeconfig", str(self._folder / "kubeconfig"), *argv)
        return subprocess.run(words, text=True, capture_output=True, timeout=60)

    def names(self) -> set[str]:
        done = self.kubectl("get", "configmap", "-o", "name")
        assert done.returncode == 0, done.stderr
        return {line.removeprefix("configmap/") for line in done.stdout.split()}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place))
    try:
        yield place
    finally:
        run("umount", str(place))


def test_a_full_disk_under_the_api_server_loses_nothing(tmp_path: Path, disk: Path) -> None:
    payload = tmp_path / "payload"
    payload.write_text("x" * 400_000)
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * (4 << 20))
    server = SmallServer(tmp_path, disk)
    server.start()
    try:
        stored: set[str] = set()
        for number in range(40):
            name = f"filling-{number}"
            done = server.kubectl("create", "configmap", name, f"--from-file={payload}")
            if done.returncode:
                break
            stored.add(name)
        assert stored
        assert "cannot be written" in done.stderr, done.stderr
        assert "nothing was changed, reading goes on: free some space" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert server.names() == stored
        refused = server.kubectl("create", "configmap", "refused", f"--from-file={payload}")
        assert refused.returncode == 1
        ballast.unlink()
        done = server.kubectl("create", "configmap", "recovered", f"--from-file={payload}")
        assert done.returncode == 0, done.stderr
        assert server.names() == stored | {"recovered"}
        server.kill()
        server.start()
        assert server.names() == stored | {"recovered"}
        assert "Traceback" not in server.log.read_text()
    finally:
        server.kill()


def test_a_server_does_not_start_on_a_full_disk_in_silence(tmp_path: Path, disk: Path) -> None:
    with contextlib.suppress(OSError):
        (disk / "ballast").write_bytes(b"\0" * (16 << 20))
    found = complaint(cairn("api", "--data", str(disk / "data"), "--listen", "127.0.0.1:0"))
    assert str(disk) in found


MARKER = b"\xff" * 16
OPEN = MARKER + b"\x00\x1d\x01"
# what is sent -> octets, error code and subcode of the NOTIFICATION that answers (RFC 4271 s6)
BYTES: dict[str, tuple[bytes, tuple[int, int] | None]] = {
    "no BGP at all": (b"GET / HTTP/1.1\r\nHost: router\r\n\r\n", (1, 1)),
    "a bad marker": (b"\x00" * 16 + b"\x00\x13\x04", (1, 1)),
    "a length beyond the limit": (MARKER + b"\xff\xff\x01", (1, 2)),
    "a length below the header": (MARKER + b"\x00\x05\x01", (1, 2)),
    "an unknown type": (MARKER + b"\x00\x13\x63", (1, 3)),
    "another version": (OPEN + b"\x09\xfc\x00\x00\x5a\x0a\x00\x00\x01\x00", (2, 1)),
    "a hold time of 1 s": (OPEN + b"\x04\xfc\x00\x00\x01\x0a\x00\x00\x01\x00", (2, 6)),
    "another AS": (OPEN + b"\x04\x00\x07\x00\x5a\x0a\x00\x00\x01\x00", (2, 2)),
    "options that end early": (
        MARKER + b"\x00\x1e\x01\x04\xfc\x00\x00\x5a\x0a\x00\x00\x01\xff\x02",
        (2, 0),
    ),
    "a KEEPALIVE first": (MARKER + b"\x00\x13\x04", (5, 1)),
    "an UPDATE first": (MARKER + b"\x00\x17\x02\x00\x00\x00\x00", (5, 1)),
    "half a header": (MARKER[:7], None),
    "noise": (bytes(range(256)) * 64, (1, 1)),
}
SENDER = """
import socket, sys
with socket.create_connection(("192.168.1.1", 179), 5) as peer:
    peer.settimeout(3)
    peer.sendall(bytes.fromhex(sys.argv[1]))
    peer.shutdown(socket.SHUT_WR)
    got = b""
    try:
        while more := peer.recv(4096):
            got += more
    except ConnectionError:
        pass
print(got.hex())
"""


@pytest.mark.parametrize("host", ["node-1", "client-2"])
def test_malformed_bgp_ends_its_own_connection_alone(lab: LabRun, host: str) -> None:
    wait_for("three next hops", lambda: lab.next_hops() == list(NODES))
    before = sessions(lab)
    assert "down" not in before.values()
    router = router_process(lab)
    for what, (sent, expected) in BYTES.items():
        said = bytes.fromhex(lab.on(host, PYTHON, "-c", SENDER, sent.hex()).strip())
        assert notification(said) == expected, what
    assert sessions(lab) == before
    assert lab.next_hops() == list(NODES)
    assert router_process(lab) == router
    log = Path(f"/var/lib/cairn/lab/{lab.name}/log/router.log").read_text()
    address = {"node-1": NODES[0], "client-2": "192.168.1.50"}[host]
    where = "2nd connection: " if host == "node-1" else ""
    assert f"BGP peer {address} not connected: {where}sent NOTIFICATION" in log
    assert "message header: bad message type: message type 99" in log


def notification(said: bytes) -> tuple[int, int] | None:
    """Return code and subcode of the NOTIFICATION in what a speaker sent."""
    while said:
        assert said[:16] == MARKER
        length = int.from_bytes(said[16:18], "big")
        if said[18] == 3:
            return said[19], said[20]
        said = said[length:]
    return None


def router_process(lab: LabRun) -> str:
    table = lab.cairn("lab", "status", "--name", lab.name)
    (row,) = [
        line for line in table.splitlines() if line.startswith("router ") and "running" in line
    ]
    return " ".join(row.split()[:5])


def test_no_daemon_of_the_lab_wrote_a_traceback(lab: LabRun) -> None:
    """Runs last in this file: whatever the cases above did, the logs hold lines, not traces."""
    logs = list(Path(f"/var/lib/cairn/lab/{lab.name}").rglob("*.log"))
    assert logs
    for path in logs:
        assert "Traceback" not in path.read_text(errors="replace"), path
