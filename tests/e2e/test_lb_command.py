"""`cairn lb`, the agent's metrics, and sockets whose backend has gone, in a running lab."""

import errno
import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from lab_run import CAIRN, NODES, PYTHON, ROOT, VIP, LabRun, wait_for

pytestmark = pytest.mark.lab

CLIENT = "192.168.50.10"
HOLD = """
import socket, sys
with socket.create_connection((sys.argv[1], 80)) as sock:
    sock.sendall(b"GET / HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n")
    sock.recv(4096)
    print(sock.getsockname()[1], flush=True)
    sys.stdin.read()
"""
TALK = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(1)
    sock.connect((sys.argv[1], 53))
    sock.send(b"hello")
    print(sock.recv(100).decode().split()[0], flush=True)
    while True:
        try:
            sock.send(b"hello")
            time.sleep(0.05)
        except ConnectionRefusedError:
            continue  # the pod's process has ended, its address is still there
        except OSError as error:
            print(error.errno, flush=True)
            break
"""
ASK = """
import socket, sys, time
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.settimeout(0.2)
    said = ""
    while True:
        try:
            sock.sendto(b"hello", (sys.argv[1], 53))
            name = sock.recv(100).decode().split()[0]
        except OSError:
            continue
        if name != said:
            print(name, flush=True)
        said = name
        time.sleep(0.05)
"""
ENDED = {str(errno.ECONNABORTED), str(errno.EDESTADDRREQ)}
"""What a process is told whose socket was ended: in recv(), and in send()."""


def lb(lab: LabRun, *words: str) -> Any:
    return json.loads(lab.cairn("lb", *words, "-o", "json"))


@contextmanager
def python_on(
    lab: LabRun, host: str, program: str, *words: str
) -> Iterator["subprocess.Popen[str]"]:
    argv = (CAIRN, "lab", "exec", "--name", lab.name, host, "--", PYTHON, "-c", program, *words)
    with subprocess.Popen(
        argv, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_list_names_services_and_counts_backends(lab: LabRun) -> None:
    rows = {(row["address"], row["port"]): row for row in lb(lab, "list")}
    row = rows[VIP, 80]
    assert row["service"] == "default/my-web-app"
    assert row["kind"] == "load-balancer"
    assert row["ready"] == {"node-1": 3, "node-2": 3, "node-3": 3}
    assert row["local"] == {"node-1": 1, "node-2": 1, "node-3": 1}
    assert rows["10.96.0.10", 53]["service"] == "kube-system/kube-dns"
    table = lab.cairn("lb", "list", "--node", "node-2")
    for address, port in rows:
        assert f"[{address}]:{port}/" in table or f" {address}:{port}/" in table


def test_backends_count_what_they_did(lab: LabRun) -> None:
    def opened() -> dict[str, int]:
        rows = [r for r in lb(lab, "backends") if "default/my-web-app" in r["services"]]
        assert {row["node"] for row in rows} == {"node-1", "node-2", "node-3"}
        assert {row["state"] for row in rows} == {"active"}
        return {row["node"]: row["opened"] for row in rows}

    before = opened()
    answered = [lab.web()["node"] for _ in range(5)]
    after = opened()
    for node, count in before.items():
        assert after[node] >= count + answered.count(node)


def test_a_connection_is_where_the_table_says(lab: LabRun) -> None:
    with python_on(lab, "client-1", HOLD, VIP) as held:
        port = read_line(held)
        rows = lb(lab, "connections", "--vip", VIP, "--client", CLIENT)
        ours = [row for row in rows if row["client"] == f"{CLIENT}:{port}"]
        served = [row for row in ours if row["answer_packets"]]
        assert len(served) == 1, ours
        assert served[0]["state"] == "established"
        assert [row["handed_over"] for row in served] == [False]
        assert {row["backend"] for row in ours} == {served[0]["backend"]}
        tables = lb(lab, "maglev", f"{VIP}:80", "--all", "--client", f"{CLIENT}:{port}")
        assert [table["node"] for table in tables] == ["node-1", "node-2", "node-3"]
        assert {table["chosen"] for table in tables} == {served[0]["backend"]}
        assert len({table["digest"] for table in tables}) == 1
        assert sum(tables[0]["shares"].values()) == tables[0]["size"]
        backend = served[0]["backend"].rpartition(":")[0]
        at_backend = lb(lab, "connections", "--backend", backend, "--limit", "0")
        assert any(row["client"] == f"{CLIENT}:{port}" for row in at_backend)
        assert lb(lab, "connections", "--client", "192.0.2.77") == []


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("maglev", "192.0.2.1:80"), 1, "no frontend 192.0.2.1:80"),
        (("list", "--node", "node-77"), 1, "no agent runs on node node-77"),
        (("maglev", "not-an-address"), 2, "is no ADDRESS"),
        (("maglev", VIP, "--client", "192.0.2.1"), 2, "give the port"),
        (("nothing",), 2, "invalid choice"),
    ],
)
def test_what_does_not_hold_is_said(
    lab: LabRun, words: tuple[str, ...], status: int, said: str
) -> None:
    environment = {"PATH": "/usr/bin:/bin", "KUBECONFIG": lab.kubeconfig}
    done = subprocess.run((CAIRN, "lb", *words), text=True, capture_output=True, env=environment)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_on_the_node_itself(lab: LabRun) -> None:
    words = ("-n", "kube-system", "exec", "ds/cairn", "-c", "agent", "--", "cairn", "lb")
    text = lab.kubectl(*words, "list", "--local")
    assert f"{VIP}:80/TCP" in text


def test_metrics_of_a_node(lab: LabRun) -> None:
    def sample(name: str) -> bool:
        page = lab.on("client-2", "curl", "-sS", f"http://{NODES[0]}:9962/metrics")
        return any(line.startswith(name) and not line.endswith(" 0.0") for line in page.split("\n"))

    lab.web()
    for name in (
        'cairn_packets_total{point="uplink",verdict="PASS"}',
        'cairn_map_max_entries{full="refuses",map="conntrack"}',
        'cairn_map_entries{map="services"}',
        'cairn_program_attached{program="uplink_ingress"}',
        "process_resident_memory_bytes",
    ):
        wait_for(name, lambda name=name: sample(name))  # type: ignore[misc]


def pod(name: str, **container: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "datagrams" if container else "client"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": "toolbox", **container}],
        },
    }


def server(name: str) -> dict[str, Any]:
    argv = [PYTHON, str(ROOT / "tests" / "beds" / "answer.py"), name, "5353"]
    return pod(name, command=argv)


def service(name: str, app: str, *ports: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": app}, "ports": list(ports)},
    }


def apply(lab: LabRun, *objects: dict[str, Any]) -> None:
    lab.apply(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


@pytest.fixture
def datagrams(lab: LabRun) -> Iterator[str]:
    """The address of a Service that answers datagrams from two pods, known to every node."""
    port = {"port": 53, "targetPort": 5353, "protocol": "UDP"}
    apply(
        lab,
        service("datagrams", "datagrams", port),
        server("first"),
        server("second"),
        pod("asker"),
    )
    words = ("pod/first", "pod/second", "pod/asker")
    lab.kubectl("wait", "--for=condition=Ready", "--timeout=60s", *words)
    address = lab.get("service", "datagrams")["spec"]["clusterIP"]

    def is_ready() -> bool:
        rows = json.loads(lab.cairn("lb", "list", "-o", "json", check=False))
        ready = [list(row["ready"].values()) for row in rows if row["address"] == address]
        return ready == [[2, 2, 2]]

    wait_for("two backends on every node", is_ready)
    yield str(address)
    lab.kubectl("delete", "service/datagrams", *words, "--ignore-not-found")


@pytest.mark.parametrize("place", ["node-1", "pod/default/asker"])
def test_datagram_sockets_leave_a_backend_that_goes(
    lab: LabRun, datagrams: str, place: str
) -> None:
    """One that is connected is ended; one that is not finds another backend."""
    with python_on(lab, place, ASK, datagrams) as asking, ExitStack() as stack:
        name = read_line(asking)
        for _ in range(20):
            talking = stack.enter_context(python_on(lab, place, TALK, datagrams))
            if read_line(talking) == name:
                break
        else:
            pytest.fail("20 sockets reached the same of two backends")
        lab.kubectl("delete", "pod", name, "--wait=false")
        other = ({"first", "second"} - {name}).pop()
        assert read_line(asking) == other
        assert read_line(talking) in ENDED
        with python_on(lab, place, TALK, datagrams) as again:
            assert read_line(again) == other


def set_map_size(lab: LabRun, *options: str) -> None:
    """Restart the agents with these options."""
    container = {"name": "agent", "args": list(options) or None}
    patch = {"spec": {"template": {"spec": {"containers": [container]}}}}
    words = ("-n", "kube-system")
    lab.kubectl("patch", *words, "ds/cairn", "-p", json.dumps(patch))
    lab.kubectl("rollout", "status", *words, "ds/cairn", "--timeout=120s")


def test_a_map_that_fills_is_told_of_at_the_node(lab: LabRun) -> None:
    held = len(lb(lab, "list", "--node", "node-1"))
    size = max(16, held + 4)
    ports = [{"name": f"p{number}", "port": number} for number in range(1, 5)]
    try:
        set_map_size(lab, f"--map-size=services={size}")
        apply(lab, service("many", "nobody", *ports))

        def messages() -> list[str]:
            events = lab.get("events", "--all-namespaces")["items"]
            return [
                event["message"]
                for event in events
                if event["reason"] == "MapFilling"
                and event["involvedObject"]["kind"] == "Node"
                and event["involvedObject"]["name"] == "node-1"
            ]

        (message, *_) = wait_for("an Event on node-1", messages, within_s=90)
        assert "map services holds" in message
        assert f"of {size} entries" in message
        assert "--map-size services=" in message
    finally:
        lab.kubectl("delete", "service/many", check=False)
        set_map_size(lab)
    assert lab.web()["pod"]
