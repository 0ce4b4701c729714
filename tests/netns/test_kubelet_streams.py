"""kubectl's exec, attach and port-forward through the real API server, by WebSocket and SPDY."""

import contextlib
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubectls import each_kubectl
from kubelet_bed import KubeletBed

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubeletBed]:
    made = KubeletBed(tmp_path_factory.mktemp("streams"))
    try:
        made.start()
        made.start_network()
        made.create_pod("box", {"containers": [{"name": "main", "image": "toolbox"}]})
        made.create_pod("web", {"containers": [{"name": "main", "image": "web"}]})
        talk = "while read line; do echo got $line; done; echo bye"
        made.create_pod(
            "reader",
            {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "main",
                        "image": "toolbox",
                        "command": ["sh", "-c", talk],
                        "stdin": True,
                        "stdinOnce": True,
                    }
                ],
            },
        )
        names = ("box", "web", "reader")
        made.wait_for("the pods", lambda: all(made.is_ready(name) for name in names))
        yield made
    finally:
        left = made.close()
    assert left == []


@each_kubectl
class TestEachKubectl:
    def test_output_and_exit_status(self, bed: KubeletBed, tool: str) -> None:
        script = "echo out; echo err >&2; hostname; exit 3"
        done = bed.kubectl("exec", "box", "--", "sh", "-c", script, tool=tool)
        assert done.stdout == "out\nbox\n"
        assert done.stderr.startswith("err\n")
        assert done.returncode == 3

    def test_input_comes_whole_and_ends(self, bed: KubeletBed, tool: str) -> None:
        data = "".join(f"line {number}\n" for number in range(20000))
        done = bed.kubectl("exec", "-i", "box", "--", "cat", tool=tool, input=data)
        assert done.returncode == 0, done.stderr
        assert done.stdout == data

    def test_unknown_command(self, bed: KubeletBed, tool: str) -> None:
        done = bed.kubectl("exec", "box", "--", "no-such-program", tool=tool)
        assert done.returncode in (126, 127)
        assert "no-such-program" in done.stderr

    def test_terminal_with_size(self, bed: KubeletBed, tool: str) -> None:
        output, status = on_terminal(bed, tool, b"stty size\ntty; exit 5\n")
        assert "33 77" in output, output
        assert "/dev/pts/" in output, output
        assert status == 5, output

    def test_port_forward(self, bed: KubeletBed, tool: str) -> None:
        port = "18081"
        argv = ["nsenter", f"--net=/run/netns/{bed.netns}", tool, f"--kubeconfig={bed.kubeconfig}"]
        process = subprocess.Popen(
            [*argv, "port-forward", "pod/web", f"{port}:8080"], stdout=subprocess.PIPE
        )
        try:
            assert process.stdout is not None
            assert b"Forwarding from" in process.stdout.readline()
            for _ in range(3):
                done = bed.run("curl", "-s", "--max-time", "5", f"http://127.0.0.1:{port}/")
                assert "pod: web" in done.stdout, bed.text("kubelet")[-2000:]
        finally:
            process.kill()
            process.wait(10)

    def test_copy_into_a_pod(self, bed: KubeletBed, tool: str, tmp_path: Path) -> None:
        source = tmp_path / "file"
        source.write_bytes(os.urandom(300_000))
        bed.output("cp", str(source), "box:/tmp/copied", tool=tool)
        back = tmp_path / "back"
        bed.output("cp", "box:/tmp/copied", str(back), tool=tool)
        assert back.read_bytes() == source.read_bytes()


def test_attach_gives_input_to_the_container(bed: KubeletBed) -> None:
    done = bed.kubectl("attach", "-i", "reader", input="hello\n", timeout=20)
    assert done.returncode == 0, done.stderr
    assert bed.output("logs", "reader") == "got hello\nbye\n"
    assert done.stdout == "got hello\nbye\n"


def test_run_with_input_shows_all_output(bed: KubeletBed) -> None:
    # No scheduler runs on this bench: the pod names its node.
    overrides = f'{{"apiVersion":"v1","spec":{{"nodeName":"{bed.node}"}}}}'
    words = ("--image=busybox", "--restart=Never", "--rm", "-i", f"--overrides={overrides}")
    script = 'echo early; read line; echo "got $line"; exit 0'
    done = bed.kubectl("run", "runner", *words, "--", "sh", "-c", script, input="typed\n")
    assert done.returncode == 0, done.stderr
    assert "early\n" in done.stdout
    assert "got typed\n" in done.stdout


def test_port_without_listener_is_named(bed: KubeletBed) -> None:
    argv = ["nsenter", f"--net=/run/netns/{bed.netns}", "kubectl", f"--kubeconfig={bed.kubeconfig}"]
    process = subprocess.Popen(
        [*argv, "port-forward", "pod/web", "18082:9"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "Forwarding from" in process.stdout.readline()
    bed.run("curl", "-s", "--max-time", "5", "http://127.0.0.1:18082/")
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert "port 9 of the pod" in errors


def test_exec_in_a_pod_that_is_not_there(bed: KubeletBed) -> None:
    done = bed.kubectl("exec", "nobody", "--", "true")
    assert done.returncode == 1
    assert "not found" in done.stderr


def test_lab_record_names_the_processes(bed: KubeletBed) -> None:
    record = bed.lab.pod_record("default", "box").read_text()
    assert '"pids": {"main": ' in record


FORWARD = """
import contextlib
import sys
from kubernetes import client, config
from kubernetes.stream import portforward

config.load_kube_config(sys.argv[1])
api = client.CoreV1Api()
for port in (8080, 81):
    forward = portforward(api.connect_get_namespaced_pod_portforward, "web", "default",
                          ports=str(port))
    socket = forward.socket(port)
    socket.setblocking(True)
    answer = b""
    with contextlib.suppress(ConnectionError):  # a refusal may be here before the request is out
        socket.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        while part := socket.recv(4096):
            answer += part
    print(port, b"pod: web" in answer, forward.error(port))
"""
"""By the Kubernetes project's own Python client, which speaks v4.channel.k8s.io."""


def test_port_forward_by_channels_of_a_websocket(bed: KubeletBed) -> None:
    done = bed.run(sys.executable, "-c", FORWARD, str(bed.kubeconfig))
    lines = done.stdout.splitlines()
    assert lines[0] == "8080 True None", done.stderr
    assert lines[1].startswith("81 False port 81 of the pod: ")


def on_terminal(bed: KubeletBed, tool: str, typed: bytes) -> tuple[str, int]:
    """Type into `kubectl exec -it`, on a terminal of 33 rows and 77 columns."""
    pid, master = pty.fork()
    if pid == 0:
        program = shutil.which("nsenter") or "nsenter"
        command = ["stty rows 33 cols 77; exec", program, f"--net=/run/netns/{bed.netns}", tool]
        command += [f"--kubeconfig={bed.kubeconfig}", "exec", "-it", "box", "--", "sh"]
        os.execv("/bin/sh", ["sh", "-c", " ".join(command)])
    output, sent, end = b"", False, time.monotonic() + 30
    while time.monotonic() < end:
        ready, _, _ = select.select([master], [], [], 0.5)
        if ready:
            try:
                data = os.read(master, 4096)
            except OSError:
                break
            output += data
        if not sent and b"#" in output:
            sent = True
            time.sleep(0.3)  # the window's size travels on a stream of its own
            os.write(master, typed)
    os.close(master)
    _, status = os.waitpid(pid, 0)
    return output.decode(errors="replace"), os.waitstatus_to_exitcode(status)
