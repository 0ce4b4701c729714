"""Logs, exec and port-forward: the way to a kubelet, with a kubelet's stand-in at its end."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator

import pytest
from apiserver_bed import Process

from cairn.api.pki import ensure_pki

LOG = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nline one\n"


class Kubelet:
    """The other end: keeps the heads it was sent, answers logs, echoes upgraded connections."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.subjects: list[object] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        self.subjects.append(writer.get_extra_info("peercert")["subject"])
        if "Upgrade: " in head:
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n")
            while data := await reader.read(1000):
                writer.write(data.upper())
        else:
            writer.write(LOG)
            await writer.drain()
        writer.close()


@pytest.fixture
async def kubelet(api: Process) -> AsyncIterator[Kubelet]:
    pki = ensure_pki(api.pki.directory)
    certificate, key = pki.issue_server("node-1", ["127.0.0.1"])
    files = (api.data / "node.crt", api.data / "node.key")
    for path, content in zip(files, (certificate, key), strict=True):
        path.write_bytes(content)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki.ca_cert))
    context.load_cert_chain(*map(str, files))
    context.verify_mode = ssl.CERT_REQUIRED
    found = Kubelet()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    await asyncio.to_thread(prepare, api, port)
    yield found
    server.close()


def prepare(api: Process, port: int) -> None:
    """Store a node whose kubelet listens on `port`, and a pod on it."""
    node = {
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"},
        "status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        },
    }  # fmt: skip
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c", "image": "i"}]},
    }  # fmt: skip
    for obj in (node, pod):
        api.kubectl("apply", "-f", "-", given=json.dumps(obj))


async def test_logs_through_kubectl(api: Process, kubelet: Kubelet) -> None:
    printed = await asyncio.to_thread(api.kubectl, "logs", "p", "--tail=5")
    assert printed == "line one\n"
    line, *headers = kubelet.heads[0].split("\r\n")
    assert line == "GET /containerLogs/default/p/c?container=c&tailLines=5 HTTP/1.1"
    assert not any(header.lower().startswith("authorization") for header in headers)
    assert "kube-apiserver-kubelet-client" in str(kubelet.subjects[0])


async def test_an_upgraded_connection_carries_bytes_both_ways(
    api: Process, kubelet: Kubelet
) -> None:
    context = ssl.create_default_context(cafile=str(api.pki.ca_cert))
    context.load_cert_chain(*map(str, api.pki.admin))
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, ssl=context)
    path = "/api/v1/namespaces/default/pods/p/exec?command=sh&stdin=true&stdout=true"
    writer.write(
        f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
        "X-Stream-Protocol-Version: v4.channel.k8s.io\r\n\r\n".encode()
    )
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101")
    for text in (b"hello", b"x" * 100_000):
        writer.write(text)
        assert await reader.readexactly(len(text)) == text.upper()
    assert "POST /exec/default/p/c?command=sh&stdin=true" in kubelet.heads[0]
    assert "input=1&output=1" in kubelet.heads[0]
    assert "x-stream-protocol-version: v4.channel.k8s.io" in kubelet.heads[0]
    writer.close()


async def test_a_node_out_of_reach_is_named(api: Process) -> None:
    await asyncio.to_thread(prepare, api, 9)
    said = await asyncio.to_thread(lambda: api.kubectl("logs", "p", check=False))
    assert 'node "node-1" at 127.0.0.1:9 cannot be reached' in said


def test_a_pod_without_a_node_has_no_logs(api: Process) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "q"},
           "spec": {"containers": [{"name": "c", "image": "i"}]}}  # fmt: skip
    api.kubectl("apply", "-f", "-", given=json.dumps(pod))
    assert "does not have a host assigned" in api.kubectl("logs", "q", check=False)
