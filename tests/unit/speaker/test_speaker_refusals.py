"""A state that cannot be put in force stays refused, however often it is told."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

from cairn.desired.routes import SpeakerConfig
from cairn.desired.routes_json import save_config
from cairn.net import parse_address
from cairn.speaker.service import SpeakerService


async def ask(path: Path, line: bytes) -> dict[str, Any]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(line)
    answer: dict[str, Any] = json.loads(await asyncio.wait_for(reader.readline(), 20))
    writer.close()
    return answer


async def test_a_refused_state_is_refused_again_and_taken_once_it_can_be(tmp_path: Path) -> None:
    holder = socket.socket()
    holder.bind(("127.0.0.1", 0))
    holder.listen()
    path = tmp_path / "speaker.sock"
    service = SpeakerService(
        socket=path,
        state=tmp_path / "state.json",
        listen=[parse_address("127.0.0.1")],
        port=holder.getsockname()[1],
        router_id="",
    )
    stop = asyncio.Event()
    task = asyncio.create_task(service.run(stop))
    async with asyncio.timeout(20):
        while not path.is_socket():
            await asyncio.sleep(0.01)
    line = save_config(SpeakerConfig("192.0.2.1", 64512))
    for _ in range(2):
        answer = await ask(path, line)
        assert answer["event"] == "error"
        assert "another BGP daemon runs here" in answer["error"]
    assert not (tmp_path / "state.json").exists()
    holder.close()
    assert (await ask(path, line))["event"] == "applied"
    stop.set()
    await asyncio.wait_for(task, 20)
