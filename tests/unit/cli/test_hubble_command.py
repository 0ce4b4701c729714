"""`cairn hubble` against a real gRPC server: what it asks, prints, and says when it cannot."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from hubble_bed import NOW_NS, Seen
from recorded_hubble import RecordedHubble, at, flow, response

from cairn.api.pki import ensure_pki
from cairn.cli.hubble import main
from cairn.cli.relay_pod import relay_state
from cairn.flow.store import FlowStore
from cairn.hubble.agent_event import AgentEvents, EndpointChanged, Started
from cairn.hubble.proto import message
from cairn.hubble.server import hubble_handlers

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def server() -> Iterator[RecordedHubble]:
    made = RecordedHubble()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No cluster of the machine's own."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("HUBBLE_SERVER", raising=False)


def flows(count: int) -> list[object]:
    return [response(flow=flow(time=at(n))) for n in range(count)]


def observe(server: RecordedHubble, *words: str) -> int:
    return main(["observe", "--server", server.address, *words])


def test_observe_prints_flows_and_notices_apart(server: RecordedHubble, capsys: Captured) -> None:
    lost = response(node_name="node-3")
    lost.lost_events.source, lost.lost_events.num_events_lost = 3, 12
    server.responses = [*flows(2), lost]
    words = ["--from-pod", "production/web-app", "--to-pod", "production/database"]
    assert observe(server, *words) == 0
    out, err = capsys.readouterr()
    assert [line.split()[-1] for line in out.splitlines()] == ["VERDICT", "ALLOWED", "ALLOWED"]
    assert err == "EVENTS LOST: HUBBLE_RING_BUFFER 12 on node-3\n"
    (asked,) = server.requests
    assert (asked.number, asked.first, asked.follow) == (20, False, False)
    assert list(asked.whitelist[0].source_pod) == ["production/web-app"]
    assert list(asked.whitelist[0].destination_pod) == ["production/database"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["--last", "5"], (5, False, False)),
        (["--first", "5"], (5, True, False)),
        (["--all"], ((1 << 64) - 1, False, False)),
        (["--since", "5m"], (0, False, False)),
        (["--follow", "--last", "3"], (3, False, True)),
        (["-f"], (0, False, True)),
    ],
    ids=str,
)
def test_how_many(server: RecordedHubble, words: list[str], asked: tuple[int, bool, bool]) -> None:
    server.responses = flows(1)
    assert observe(server, *words) == 0
    found = server.requests[0]
    assert (found.number, found.first, found.follow) == asked


def test_times_and_fields_are_asked_for(server: RecordedHubble) -> None:
    server.responses = flows(1)
    words = ["--since", "1h30m", "--until", "2024-01-15T10:30:15+01:00"]
    assert observe(server, "--until", words[3], "--field-mask", "time,source.pod_name") == 0
    assert observe(server, *words[:2]) == 0
    first, second = server.requests
    assert first.until.ToJsonString() == "2024-01-15T09:30:15Z"
    assert list(first.field_mask.paths) == ["time", "source.pod_name"]
    ago_s = time.time() - second.since.ToNanoseconds() / 1e9
    assert 5395 < ago_s < 5460


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--first", "1", "--last", "2"], "--first and --last cannot be combined"),
        (["--all", "--last", "2"], "--last and --all cannot be combined"),
        (["--first", "1", "--follow"], "--first and --follow cannot be combined"),
        (["--since", "1m", "--until", "2m"], "--since is not before --until"),
        (["--since", "yesterday"], "--since: 'yesterday' is no time"),
        (["--since", "2999-01-01T00:00:00Z"], "--since 2999-01-01T00:00:00Z is in the future"),
        (["--until", "2999-01-01"], "--until 2999-01-01 is in the future"),
        (["--last", "none"], "'none' is not a number of flows"),
        (["--field-mask", "colour"], "'colour' is no field of a flow"),
        (["--not"], "--not stands before no filter"),
        (["--pod", "a/b", "--to-pod", "c/d"], "--to-pod and --pod cannot be combined"),
        (["--input-file", "x", "-f"], "--input-file and --follow cannot be combined"),
        (["-A", "-n", "x"], "--all-namespaces and --namespace cannot be combined"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["-o", "xml"], "invalid choice: 'xml'"),
        (["--tls-ca-cert-files", "x"], "options --tls-… need --tls"),
        (["--tls", "--tls-ca-cert-files", "/none"], "/none: No such file or directory"),
        (["--tls", "--tls-client-key-file", "x"], "belong together"),
        (["--server", "http://x"], "write HOST:PORT, tls://HOST:PORT or unix:/path"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_usage_is_one_line_and_status_2(
    capsys: Captured, words: list[str], said: str
) -> None:
    try:
        status = main(["observe", "--server", "127.0.0.1:1", *words])
    except SystemExit as ended:
        status = int(str(ended.code))
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_what_the_server_does_not_understand_is_wrong_usage(
    server: RecordedHubble, capsys: Captured
) -> None:
    server.refuses = (grpc.StatusCode.INVALID_ARGUMENT, "http_path needs l7")
    assert observe(server, "--http-path", "x") == 2
    assert capsys.readouterr().err == "cairn hubble observe: http_path needs l7\n"


@pytest.mark.parametrize(
    "command", [["observe", "flows"], ["status"], ["list", "nodes"], ["watch", "peers"]]
)
def test_a_server_that_is_not_there_is_said(command: list[str], capsys: Captured) -> None:
    assert main([*command, "--server", "127.0.0.1:1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "no Hubble server answers at 127.0.0.1:1" in err
    assert err.count("\n") == 1


def test_without_a_server_and_a_cluster_it_says_so(capsys: Captured) -> None:
    assert main(["status"]) == 1
    err = capsys.readouterr().err
    assert "none" in err
    assert err.count("\n") == 1


def test_raw_filters_are_printed_and_nobody_is_asked(
    server: RecordedHubble, capsys: Captured
) -> None:
    assert observe(server, "--raw-filters", "--not", "--verdict", "DENIED") == 0
    assert capsys.readouterr().out == 'denylist:\n- \'{"verdict": ["DROPPED"]}\'\n'
    assert server.requests == []


def test_an_unknown_pod_is_a_warning(server: RecordedHubble, capsys: Captured) -> None:
    assert observe(server, "--pod", "production/nobody", "-n", "production") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "warning: no flow names a pod production/nobody" in err
    assert err.count("\n") == 1


def test_a_saved_file_is_filtered_by_the_same_flags(
    server: RecordedHubble, capsys: Captured, tmp_path: Path
) -> None:
    denied = response(flow=flow(verdict="DROPPED", time=at(5)))
    server.responses = [*flows(3), denied]
    assert observe(server, "-o", "jsonpb") == 0
    saved = tmp_path / "flows.json"
    saved.write_text(capsys.readouterr().out)

    def from_file(*words: str) -> list[str]:
        assert main(["observe", "--input-file", str(saved), *words]) == 0
        return capsys.readouterr().out.splitlines()[1:]

    assert len(from_file()) == 4
    assert len(from_file("--verdict", "DENIED")) == 1
    assert len(from_file("--not", "--verdict", "DENIED", "--first", "2")) == 2
    assert from_file("--last", "1")[0].startswith("2024-01-15T10:30:20Z")
    assert len(from_file("--since", at(1).ToJsonString(), "--until", at(2).ToJsonString())) == 2
    assert from_file("--pod", "other/") == []
    flow_alone = json.dumps(json.loads(saved.read_text().splitlines()[0])["flow"])
    saved.write_text(flow_alone + "\n")
    assert len(from_file()) == 1
    assert (
        main(["observe", "--input-file", str(saved), "-o", "json", "--field-mask", "verdict"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["flow"] == {"verdict": "FORWARDED"}


@pytest.mark.parametrize("line", ["no", "[]", '{"verdict": "FORWARDED"}', '{"flow": {"time": 3}}'])
def test_a_line_that_is_no_flow_is_named(line: str, tmp_path: Path, capsys: Captured) -> None:
    saved = tmp_path / "flows.json"
    saved.write_text(f"\n{line}\n")
    assert main(["observe", "--input-file", str(saved)]) == 1
    err = capsys.readouterr().err
    assert f"{saved}: line 2 is no flow" in err
    assert err.count("\n") == 1


def test_standard_input_is_a_file(server: RecordedHubble, capsys: Captured) -> None:
    server.responses = flows(2)
    assert observe(server, "-o", "json") == 0
    words = [sys.executable, "-m", "cairn", "hubble", "observe", "--input-file", "-", "-o", "dict"]
    done = subprocess.run(words, input=capsys.readouterr().out, text=True, capture_output=True)
    assert done.returncode == 0
    assert done.stdout.count("VERDICT: FORWARDED") == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_follow_prints_at_once_and_a_signal_ends_it_with_0(
    server: RecordedHubble, number: signal.Signals
) -> None:
    server.responses = flows(1)
    server.goes_on.clear()
    words = [sys.executable, "-m", "cairn", "hubble", "observe", "-f", "--server", server.address]
    with subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
        assert run.stdout
        assert run.stderr
        assert run.stdout.readline().startswith("TIMESTAMP")
        assert run.stdout.readline().split()[-1] == "ALLOWED"
        run.send_signal(number)
        try:
            assert run.wait(10) == 0
        finally:
            run.kill()
        assert run.stderr.read() == ""


def test_status(server: RecordedHubble, capsys: Captured) -> None:
    status = server.status
    status.num_flows, status.max_flows, status.flows_rate = 12285, 16384, 45.318
    status.num_connected_nodes.value = 3
    status.num_unavailable_nodes.value = 0
    assert main(["status", "--server", server.address]) == 0
    assert capsys.readouterr().out == (
        f"Healthcheck (via {server.address}): ok\n"
        "Current/Max Flows: 12,285/16,384 (74.98%)\n"
        "Flows/s: 45.32\n"
        "Connected Nodes: 3/3\n"
    )
    status.num_connected_nodes.value, status.num_unavailable_nodes.value = 2, 1
    status.unavailable_nodes.append("node-3")
    assert main(["status", "--server", server.address]) == 1
    assert capsys.readouterr().out.endswith(
        "Connected Nodes: 2/3\nUnavailable Nodes: 1\n  - node-3\n"
    )
    assert main(["status", "--server", server.address, "-o", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["healthy"], found["unavailable_nodes"]) == (False, ["node-3"])
    del status.unavailable_nodes[:]
    server.serving = type(server.serving)(2)
    assert main(["status", "--server", server.address]) == 1
    assert capsys.readouterr().out.startswith(f"Healthcheck (via {server.address}): NOT_SERVING\n")


def test_list_nodes_and_namespaces(server: RecordedHubble, capsys: Captured) -> None:
    server.nodes.nodes.add(name="node-1", version="cairn 0.1", address="192.168.1.10:4244",
                           state=1, uptime_ns=7_200_000_000_000, num_flows=10, max_flows=40,
                           seen_flows=7200)  # fmt: skip
    server.nodes.nodes.add(name="node-22", state=2)
    server.namespaces.namespaces.add(namespace="production")
    assert main(["list", "nodes", "--server", server.address]) == 0
    assert capsys.readouterr().out == (
        "NAME     STATUS       AGE  FLOWS/S    CURRENT/MAX-FLOWS\n"
        "node-1   Connected    2h   1.00       10/40 (25.00%)\n"
        "node-22  Unavailable  0s   not known  not known\n"
    )
    assert main(["list", "nodes", "--server", server.address, "-o", "wide"]) == 0
    wide = capsys.readouterr().out.splitlines()[1].split()
    assert wide[-4:] == ["192.168.1.10:4244", "cairn", "0.1", "Disabled"]
    assert main(["list", "nodes", "--server", server.address, "-o", "json"]) == 0
    assert [node["state"] for node in json.loads(capsys.readouterr().out)] == [
        "NODE_CONNECTED", "NODE_UNAVAILABLE"]  # fmt: skip
    assert main(["list", "namespaces", "--server", server.address]) == 0
    assert capsys.readouterr().out == "NAMESPACE\nproduction\n"


def test_watch_peers(server: RecordedHubble, capsys: Captured) -> None:
    change = message("peer.ChangeNotification")
    server.changes = [change(name="node-1", address="192.168.1.10:4244", type=1),
                      change(name="node-1", type=2)]  # fmt: skip
    assert main(["watch", "peers", "--server", server.address]) == 0
    assert capsys.readouterr().out == (
        "PEER_ADDED    192.168.1.10:4244 node-1\nPEER_DELETED   node-1\n"
    )


def test_a_socket_is_a_server_too(tmp_path: Path, capsys: Captured) -> None:
    served = RecordedHubble(address=f"unix:{tmp_path}/hubble.sock")
    try:
        served.responses = flows(1)
        for spelt in (f"unix:{tmp_path}/hubble.sock", f"unix://{tmp_path}/hubble.sock"):
            assert main(["observe", "--server", spelt, "-o", "compact"]) == 0
            assert capsys.readouterr().out.count("FORWARDED") == 1
    finally:
        served.close()


def test_the_environment_names_a_server(
    server: RecordedHubble, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.responses = flows(1)
    monkeypatch.setenv("HUBBLE_SERVER", f"tcp://{server.address}")
    assert main(["observe"]) == 0
    assert len(server.requests) == 1


def test_it_starts_at_once(server: RecordedHubble) -> None:
    """Its own time, the least of some runs: others' work on the machine is not its own."""
    server.responses = flows(1)
    words = [sys.executable, "-m", "cairn", "hubble", "observe", "--server", server.address]
    used_s = []
    for _ in range(3):
        before = os.times()
        subprocess.run(words, check=True, capture_output=True)
        now = os.times()
        used_s.append(sum(now[2:4]) - sum(before[2:4]))
    assert min(used_s) < 0.5


def test_words_that_are_no_command(capsys: Captured) -> None:
    assert main(["watchh"]) == 2
    assert "use one of observe, status, list" in capsys.readouterr().err
    assert main([]) == 2
    assert main(["--help"]) == 0


def test_tls_both_ways(tmp_path: Path, capsys: Captured) -> None:
    pki = ensure_pki(tmp_path / "pki")
    certificate, key = pki.issue_server("relay", ["relay.example"])
    mine, my_key = pki.issue_client("me")
    ca, cert_file, key_file = (tmp_path / name for name in ("ca.pem", "me.pem", "me.key"))
    ca.write_bytes(pki.ca_pem)
    cert_file.write_bytes(mine)
    key_file.write_bytes(my_key)
    credentials = grpc.ssl_server_credentials([(key, certificate)], pki.ca_pem, True)
    served = RecordedHubble(credentials=credentials)
    served.responses = flows(1)
    name = ("--tls-server-name", "relay.example", "--tls-ca-cert-files", str(ca))
    keys = ("--tls-client-cert-file", str(cert_file), "--tls-client-key-file", str(key_file))
    try:
        assert observe(served, "--tls", *name, *keys) == 0
        assert main(["observe", "--server", f"tls://{served.address}", *name, *keys]) == 0
        assert capsys.readouterr().out.count("ALLOWED") == 2
        assert observe(served, "--tls", *name) == 1
        assert observe(served) == 1
        assert observe(served, "--tls", *name[2:], *keys) == 1
        err = capsys.readouterr().err
        assert err.count("no Hubble server answers at") == err.count("\n") == 3
    finally:
        served.close()


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([], "none: flows stay on their nodes"),
        ([("hubble-relay", "False")], "not ready"),
        ([("other", "True"), ("hubble-relay", "True")], "ready"),
    ],
)
def test_the_relays_state_in_a_few_words(pods: list[tuple[str, str]], said: str) -> None:
    objects = [
        {
            "metadata": {"name": "x", "labels": {"k8s-app": app}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }
        for app, ready in pods
    ]
    assert relay_state(objects).startswith(said)


async def test_agent_events_of_a_node(tmp_path: Path) -> None:
    events = AgentEvents(lambda: NOW_NS)
    events.put(Started())
    events.put(EndpointChanged(7, "production", "web-1"))
    seen = Seen(FlowStore(16), events=events)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(tuple(hubble_handlers(seen)))
    server.add_insecure_port(f"unix:{tmp_path}/node.sock")
    await server.start()
    words = [sys.executable, "-m", "cairn", "hubble", "observe", "agent-events"]
    words += ["--server", f"unix:{tmp_path}/node.sock", "--all", "--time-format", "RFC3339"]
    run = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    out, _ = await run.communicate()
    await server.stop(None)
    first, second = out.decode().splitlines()
    assert first.endswith("[node-1]: AGENT_STARTED")
    assert second.endswith("[node-1]: ENDPOINT_CREATED (id 7, pod web-1, namespace production)")


def test_what_a_server_does_not_have_is_said_in_its_words(
    server: RecordedHubble, capsys: Captured
) -> None:
    server.refuses = (grpc.StatusCode.UNIMPLEMENTED, "ask a node's own API")
    assert observe(server) == 1
    assert capsys.readouterr().err.endswith(f"{server.address}: ask a node's own API\n")
    assert main(["observe", "agent-events", "--server", server.address]) == 1
    assert "does not have observer.Observer/GetAgentEvents" in capsys.readouterr().err
