"""The real process: durability, refusals at start, connections that misbehave, certificates."""

import http.client
import json
import os
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from apiserver_bed import SERVE, Process

MAPS = "/api/v1/namespaces/default/configmaps"


class Http:
    """A client of the process: one request at a time, with a certificate or a token."""

    def __init__(self, api: Process, *, token: str = "", anonymous: bool = False) -> None:
        self.api, self.token = api, token
        self.context = ssl.create_default_context(cafile=str(api.pki.ca_cert))
        if not token and not anonymous:
            self.context.load_cert_chain(*map(str, api.pki.admin))

    def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(
            self.api.url + path, data=data, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(request, context=self.context, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())


def config(name: str, text: str = "1") -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": {"a": text}}


def test_every_acknowledged_write_survives_kill_9(api: Process) -> None:
    acknowledged: list[str] = []
    started = threading.Event()

    def write(first: int) -> None:
        http = Http(api)
        for number in range(first, first + 2000):
            try:
                code, _ = http.send("POST", MAPS, config(f"c{number}"))
            except (OSError, urllib.error.URLError):
                return
            assert code == 201
            acknowledged.append(f"c{number}")
            if len(acknowledged) > 100:
                started.set()

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 10_000, 20_000)]
    for writer in writers:
        writer.start()
    assert started.wait(30)
    api.kill()
    for writer in writers:
        writer.join()
    api.start()
    _, listed = Http(api).send("GET", MAPS)
    there = {item["metadata"]["name"] for item in listed["items"]}
    assert set(acknowledged) <= there
    assert len(there) <= len(acknowledged) + len(writers)
    versions = [int(item["metadata"]["resourceVersion"]) for item in listed["items"]]
    assert len(set(versions)) == len(versions)
    assert int(listed["metadata"]["resourceVersion"]) >= max(versions)


def test_revisions_go_on_after_a_restart(api: Process) -> None:
    http = Http(api)
    http.send("POST", MAPS, config("a"))
    _, gone = http.send("DELETE", f"{MAPS}/a")
    assert gone["status"] == "Success"
    _, before = http.send("GET", MAPS)
    api.kill()
    api.start()
    _, after = Http(api).send("GET", MAPS)
    assert int(after["metadata"]["resourceVersion"]) >= int(before["metadata"]["resourceVersion"])
    _, made = Http(api).send("POST", MAPS, config("b"))
    assert int(made["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])


def test_a_full_disk_refuses_writes_and_serves_reads(api: Process) -> None:
    http = Http(api)
    assert http.send("POST", MAPS, config("a"))[0] == 201
    size = (api.data / "state.db-wal").stat().st_size
    # A limit on file sizes is to a process what a full disk is to all.
    resource.prlimit(api.popen.pid, resource.RLIMIT_FSIZE, (size + 20_000, -1))
    code, status = http.send("POST", MAPS, config("big", "x" * 900_000))
    assert (code, status["reason"]) == (507, "InsufficientStorage")
    assert "state.db" in status["message"]
    assert "free some space" in status["message"]
    assert http.send("GET", f"{MAPS}/a")[0] == 200
    assert http.send("GET", f"{MAPS}/big")[0] == 404
    resource.prlimit(api.popen.pid, resource.RLIMIT_FSIZE, (-1, -1))
    assert http.send("POST", MAPS, config("big", "x" * 900_000))[0] == 201


def run_api(*arguments: str) -> tuple[int, str]:
    """Run a server that is not expected to start; returns its status and what it said."""
    ran = subprocess.run(
        [sys.executable, "-c", SERVE, *arguments], capture_output=True, text=True, timeout=30
    )
    return ran.returncode, ran.stderr


def test_what_keeps_it_from_starting_is_one_line(api: Process, tmp_path: Path) -> None:
    taken = run_api("--data", str(tmp_path / "x"), "--listen", f"127.0.0.1:{api.port}")
    assert taken[0] == 1
    assert f"cannot listen on 127.0.0.1:{api.port} (Address already in use)" in taken[1]
    twice = run_api("--data", str(api.data), "--listen", "127.0.0.1:0")
    assert twice[0] == 1
    assert "in use by another API server" in twice[1]
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "state.db").write_bytes(b"not a database at all" * 500)
    corrupt = run_api("--data", str(broken), "--listen", "127.0.0.1:0")
    assert corrupt[0] == 1
    assert "not a readable database" in corrupt[1]
    (tmp_path / "file").write_text("")
    file = run_api("--data", str(tmp_path / "file" / "x"), "--listen", "127.0.0.1:0")
    assert file[0] == 1
    wrong = run_api("--data", str(tmp_path / "y"), "--listen", "localhost")
    assert "expected ADDRESS:PORT" in wrong[1]
    assert all(text.count("\n") == 1 for _, text in (taken, twice, corrupt, file, wrong))


def test_a_listener_can_be_handed_over(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        os.set_inheritable(listener.fileno(), True)
        popen = subprocess.Popen(
            [sys.executable, "-c", SERVE, "--data", str(tmp_path), "--listen-fd",
             str(listener.fileno())],
            stderr=subprocess.PIPE, pass_fds=[listener.fileno()],
        )  # fmt: skip
        assert popen.stderr is not None
        assert f"127.0.0.1:{port}" in popen.stderr.readline().decode()
    popen.terminate()
    assert popen.wait(10) == 0


def test_tokens_and_certificates(api: Process) -> None:
    review = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    token = api.pki.service_account_token("kube-system", "cairn")
    _, who = Http(api, token=token).send("POST", review, {})
    assert who["status"]["userInfo"]["username"] == "system:serviceaccount:kube-system:cairn"
    assert "system:serviceaccounts" in who["status"]["userInfo"]["groups"]
    _, admin = Http(api).send("POST", review, {})
    assert admin["status"]["userInfo"]["username"] == "kubernetes-admin"
    assert "system:masters" in admin["status"]["userInfo"]["groups"]
    assert Http(api, token=token[:-3] + "abc").send("GET", "/api/v1/pods")[0] == 401
    assert Http(api, anonymous=True).send("GET", "/api/v1/pods")[0] == 401


def test_first_objects(api: Process) -> None:
    http = Http(api)
    _, spaces = http.send("GET", "/api/v1/namespaces")
    found = {item["metadata"]["name"] for item in spaces["items"]}
    assert found == {"default", "kube-node-lease", "kube-public", "kube-system"}
    _, service = http.send("GET", "/api/v1/namespaces/default/services/kubernetes")
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
    _, piece = http.send("GET", slices)
    assert piece["endpoints"][0]["addresses"] == ["127.0.0.1"]
    assert piece["ports"][0]["port"] == api.port


def raw(api: Process, data: bytes) -> bytes:
    """Send bytes over TLS; returns all that comes back until the server closes."""
    context = ssl.create_default_context(cafile=str(api.pki.ca_cert))
    context.load_cert_chain(*map(str, api.pki.admin))
    with (
        socket.create_connection(("127.0.0.1", api.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(data)
        answer = b""
        while piece := tls.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 100_000 + b"\r\n\r\n", b"431"),
        (b"POST " + MAPS.encode() + b" HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", b"400"),
        (b"GET /version HTTP/1.0\r\n\r\n", b"200"),
    ],
)
def test_connections_that_misbehave(api: Process, data: bytes, code: bytes) -> None:
    assert raw(api, data).split(b" ")[1] == code
    assert Http(api).send("GET", "/version")[0] == 200


def test_a_chunked_body_and_two_requests_on_one_connection(api: Process) -> None:
    body = json.dumps(config("chunked")).encode()
    head = f"POST {MAPS} HTTP/1.1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
    chunks = b"5\r\n" + body[:5] + b"\r\n%x\r\n" % (len(body) - 5) + body[5:] + b"\r\n0\r\n\r\n"
    second = f"GET {MAPS}/chunked HTTP/1.1\r\nConnection: close\r\n\r\n"
    answer = raw(api, head.encode() + chunks + second.encode())
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201")
    assert b"HTTP/1.1 200 OK" in answer


def test_a_watch_over_the_wire_ends_when_it_should(api: Process) -> None:
    path = f"{MAPS}?watch=1&timeoutSeconds=1&allowWatchBookmarks=1"
    answer = raw(api, f"GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n".encode())
    assert answer.endswith(b"0\r\n\r\n")
    assert b'"type":"BOOKMARK"' in answer


def test_an_old_revision_after_a_restart_is_gone(api: Process) -> None:
    _, made = Http(api).send("POST", MAPS, config("a"))
    Http(api).send("POST", MAPS, config("b"))
    api.kill()
    api.start()
    revision = made["metadata"]["resourceVersion"]
    request = f"GET {MAPS}?watch=1&resourceVersion={revision} HTTP/1.1\r\nConnection: close\r\n\r\n"
    answer = raw(api, request.encode())
    assert b'"type":"ERROR"' in answer
    assert b'"code":410' in answer


def test_the_authority_is_kept_and_names_are_added(api: Process) -> None:
    before = api.pki.ca_pem
    api.kill()
    popen = subprocess.Popen(
        [sys.executable, "-c", SERVE, "--data", str(api.data), "--listen",
         f"127.0.0.1:{api.port}", "--advertise", "198.51.100.9:6443"],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    api.popen = popen
    assert popen.stderr is not None
    assert b"serving" in popen.stderr.readline()
    assert api.pki.ca_pem == before
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
    _, piece = Http(api).send("GET", slices)
    assert piece["endpoints"][0]["addresses"] == ["198.51.100.9"]
    context = ssl.create_default_context(cafile=str(api.pki.ca_cert))
    with (
        socket.create_connection(("127.0.0.1", api.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="198.51.100.9") as tls,
    ):
        assert tls.getpeercert()


def test_it_ends_quietly_with_watchers_connected(api: Process) -> None:
    context = ssl.create_default_context(cafile=str(api.pki.ca_cert))
    context.load_cert_chain(*map(str, api.pki.admin))
    with (
        socket.create_connection(("127.0.0.1", api.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(f"GET {MAPS}?watch=1 HTTP/1.1\r\n\r\n".encode())
        assert tls.recv(1000).startswith(b"HTTP/1.1 200")
        api.popen.terminate()
        assert api.popen.wait(10) == 0
    assert api.popen.stderr is not None
    assert api.popen.stderr.read() == b""


def test_plain_http_costs_only_its_sender(api: Process) -> None:
    with socket.create_connection(("127.0.0.1", api.port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
        plain.settimeout(5)
        while plain.recv(1000):
            pass
    assert Http(api).send("GET", "/version")[0] == 200


def connection(api: Process) -> http.client.HTTPSConnection:
    """Return a connection of the admin's that lasts."""
    context = ssl.create_default_context(cafile=str(api.pki.ca_cert))
    context.load_cert_chain(*map(str, api.pki.admin))
    return http.client.HTTPSConnection("127.0.0.1", api.port, context=context, timeout=30)


def test_a_watcher_hears_of_changes_that_follow_closely_without_a_wait(api: Process) -> None:
    changes, lags_s = 60, []
    writer, watcher = connection(api), connection(api)
    watcher.request("GET", f"{MAPS}?watch=true&resourceVersion=0")
    events = watcher.getresponse()
    for number in range(changes):
        body = json.dumps(config(f"c{number}"))
        writer.request("POST", MAPS, body, {"Content-Type": "application/json"})
        began = time.monotonic()
        # Acknowledge late, as whoever only listens does sooner or later.
        watcher.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
        assert json.loads(events.readline())["object"]["metadata"]["name"] == f"c{number}"
        lags_s.append(time.monotonic() - began)
        assert writer.getresponse().read()
    # A segment that waits for the acknowledgement of the one before waits 40 ms, again and again;
    # a slow machine is late now and then.
    assert statistics.quantiles(lags_s, n=10)[7] < 0.03, lags_s
