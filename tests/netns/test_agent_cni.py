"""The agent's CNI server and the real plugin, wiring real namespaces."""

import asyncio
import json
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cairn.agent.cni_server import CniServer
from cairn.agent.endpoint_store import EndpointStore
from cairn.agent.policy_admission import NotAdmitted
from cairn.desired.endpoint import PodEndpoint
from cairn.linux import namespace
from cairn.linux.system_call import Clone
from cairn.net import parse_network

pytestmark = [pytest.mark.root]

PLUGIN = str(Path(sys.executable).parent / "cairn-cni")
NETWORKS = (parse_network("10.244.9.0/29"), parse_network("fd00:10:244:9::/64"))


class Bed:
    """A node's namespace with an agent's CNI server in it, and pods to wire."""

    def __init__(self, prefix: str, folder: Path) -> None:
        self.prefix = prefix
        self.folder = folder
        self.created: list[PodEndpoint] = []
        self.added: list[PodEndpoint] = []
        self.deleted: list[PodEndpoint] = []
        self.refused = ""
        """Why no pod's policy comes into force."""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        store = EndpointStore(self.folder / "endpoints")
        server = CniServer(
            store,
            NETWORKS,
            mtu_bytes=lambda: 1450,
            on_create=self.created.append,
            on_add=self.added.append,
            on_delete=self.deleted.append,
            admit=self.admit,
        )
        listening = await server.serve(self.folder / "agent.sock")
        try:
            yield
        finally:
            listening.close()
            await listening.wait_closed()

    async def admit(self, endpoint: PodEndpoint) -> None:
        assert endpoint in self.added, "it is admitted once it is wired"
        if self.refused:
            raise NotAdmitted(self.refused)

    async def call(self, command: str, pod: str, **more: str) -> tuple[int, dict[str, Any]]:
        """Run the plugin as a kubelet does; return its status and what it printed."""
        config = {
            "cniVersion": "1.0.0",
            "name": "cairn",
            "type": "cairn-cni",
            "agentSocket": str(self.folder / "agent.sock"),
        }
        environment = os.environ | {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"{self.prefix}{pod}",
            "CNI_NETNS": str(namespace.netns_path(f"{self.prefix}-{pod}")),
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(Path(PLUGIN).parent),
            "CNI_ARGS": f"K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_UID=uid-{pod}",
        }
        process = await asyncio.create_subprocess_exec(
            PLUGIN,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=environment | more,
        )
        out, _ = await process.communicate(json.dumps(config).encode())
        return process.returncode or 0, json.loads(out or b"{}")


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    prefix = f"ct{os.getpid()}{secrets.token_hex(2)}"
    names = [f"{prefix}-{name}" for name in ("node", "a", "b")]
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    for name in names:
        namespace.create(name)
    namespace.enter(str(namespace.netns_path(names[0])), Clone.NEWNET)
    try:
        yield Bed(prefix, tmp_path)
    finally:
        namespace.enter(f"/proc/self/fd/{home}", Clone.NEWNET)
        os.close(home)
        for name in names:
            namespace.delete(name)


def ping(source: str, target: str) -> bool:
    done = subprocess.run(
        ["nsenter", f"--net=/run/netns/{source}", "ping", "-c1", "-W2", target],
        capture_output=True,
    )
    return done.returncode == 0


def links() -> list[str]:
    text = subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout
    return [link["ifname"] for link in json.loads(text) if link["ifname"].startswith("lxc")]


async def test_add_gives_an_address_that_the_node_reaches(bed: Bed) -> None:
    async with bed.serving():
        status, result = await bed.call("ADD", "a")
    assert status == 0
    assert result["cniVersion"] == "1.0.0"
    assert result["ips"] == [
        {"address": "10.244.9.1/32", "gateway": "169.254.1.1", "interface": 1},
        {"address": "fd00:10:244:9::1/128", "gateway": "fe80::1", "interface": 1},
    ]
    assert result["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert [interface["name"] for interface in result["interfaces"]][1:] == ["eth0"]
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["ip", "addr", "add", "192.0.2.1/32", "dev", "lo"], check=True)
    subprocess.run(["ip", "addr", "add", "fd00::1/128", "dev", "lo"], check=True)
    assert ping(f"{bed.prefix}-node", "10.244.9.1")
    assert ping(f"{bed.prefix}-node", "fd00:10:244:9::1"), "at once: nobody looks for duplicates"
    assert ping(f"{bed.prefix}-a", "fd00::1")
    assert [(e.pod, e.uid) for e in bed.added] == [("a", "uid-a")]


async def test_add_again_returns_what_stands(bed: Bed) -> None:
    async with bed.serving():
        first = await bed.call("ADD", "a")
        assert await bed.call("ADD", "a") == first
    assert len(links()) == 1


async def test_del_undoes_and_may_be_repeated(bed: Bed) -> None:
    async with bed.serving():
        await bed.call("ADD", "a")
        assert (await bed.call("DEL", "a"))[0] == 0
        assert links() == []
        assert (await bed.call("DEL", "a"))[0] == 0
    assert [e.pod for e in bed.deleted] == ["a"]


async def test_addresses_go_round_and_run_out(bed: Bed) -> None:
    given = []
    async with bed.serving():
        for _ in range(7):
            _, result = await bed.call("ADD", "a")
            given.append(tuple(ip["address"] for ip in result["ips"]))
            await bed.call("DEL", "a")
    four, six = zip(*given, strict=True)
    assert list(four[:6]) == [f"10.244.9.{i}/32" for i in range(1, 7)]
    assert four[6] == "10.244.9.1/32"
    assert list(six) == [f"fd00:10:244:9::{i}/128" for i in range(1, 8)], "each family has its turn"


async def test_an_agent_that_comes_back_knows_its_pods(bed: Bed) -> None:
    async with bed.serving():
        _, first = await bed.call("ADD", "a")
    async with bed.serving():
        assert (await bed.call("ADD", "a"))[1] == first
        _, second = await bed.call("ADD", "b")
        assert second["ips"][0]["address"] == "10.244.9.2/32"
        assert (await bed.call("DEL", "a"))[0] == 0


async def test_check_and_gc(bed: Bed) -> None:
    async with bed.serving():
        await bed.call("ADD", "a")
        assert (await bed.call("CHECK", "a"))[0] == 0
        subprocess.run(["ip", "link", "del", links()[0]], check=True)
        status, answer = await bed.call("CHECK", "a")
    assert status == 1
    assert "not wired" in answer["msg"]


async def test_without_an_agent_the_runtime_is_told_to_try_again(bed: Bed) -> None:
    status, answer = await bed.call("ADD", "a")
    assert status == 1
    assert answer["code"] == 11


async def test_a_namespace_that_is_gone_is_an_error_and_leaves_nothing(bed: Bed) -> None:
    async with bed.serving():
        status, answer = await bed.call("ADD", "a", CNI_NETNS="/run/netns/none-such")
    assert status == 1
    assert "none-such" in answer["msg"]
    assert links() == []
    assert not list((bed.folder / "endpoints").glob("*.json"))


async def raw(bed: Bed, line: bytes) -> dict[str, Any]:
    """Send a line to the agent's socket as no plugin would; return the answer."""
    reader, writer = await asyncio.open_unix_connection(bed.folder / "agent.sock")
    writer.write(line)
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 20))
    writer.close()
    return answer


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"[]\n",
        b"\xff\n",
        b'{"command": "ADD"}\n',
        b'{"command": "DEL", "containerID": 5, "ifname": "eth0"}\n',
        b'{"command": "DANCE"}\n',
        b'{"command": "GC", "config": {}}\n',
        b'{"command": "GC", "config": {"cni.dev/valid-attachments": null}}\n',
    ],
)
async def test_every_call_is_answered_and_none_unwires_what_it_does_not_name(
    bed: Bed, line: bytes
) -> None:
    async with bed.serving():
        await bed.call("ADD", "a")
        answer = await raw(bed, line)
        assert answer["error"]["code"] == 7
        assert (await bed.call("CHECK", "a"))[0] == 0


async def test_an_add_that_was_broken_off_is_done_again(bed: Bed) -> None:
    async with bed.serving():
        await bed.call("ADD", "a")
    record = next((bed.folder / "endpoints").glob("*.json"))
    record.write_text(json.dumps(json.loads(record.read_text()) | {"host_ifindex": 0}))
    async with bed.serving():
        assert (await bed.call("CHECK", "a"))[0] == 1
        status, _ = await bed.call("ADD", "a")
        assert status == 0
        assert (await bed.call("CHECK", "a"))[0] == 0
    assert bed.added[-1].host_ifindex > 0
    assert len(links()) == 1


async def test_a_pod_whose_policy_is_not_in_force_is_unwired_and_tried_again(bed: Bed) -> None:
    bed.refused = "the API server does not answer"
    async with bed.serving():
        status, answer = await bed.call("ADD", "a")
        assert status == 1
        assert (answer["code"], answer["msg"]) == (11, bed.refused)
        assert links() == []
        assert [e.pod for e in bed.deleted] == ["a"]
        bed.refused = ""
        assert (await bed.call("ADD", "a"))[0] == 0
