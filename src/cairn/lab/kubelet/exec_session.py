"""`kubectl exec` and `attach`: a program, or the container's own, joined to a user's channels.

Running, argv, Remote  ->  output on its channels, exit status on the error channel
"""

import asyncio
import contextlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path

from cairn.lab.kubelet import exec_process
from cairn.lab.kubelet.log_reader import LogQuery, follow_log
from cairn.lab.kubelet.remote import Channel, Remote, exit_status, failure
from cairn.lab.kubelet.runtime import Running
from cairn.lab.kubelet.shim import STDIN_END

CHUNK_BYTES = 32768
YOUNG_S = 10.0


async def serve_exec(remote: Remote, running: Running, argv: list[str], *, tty: bool) -> None:
    """Run a program in the container for the user."""
    try:
        if tty:
            code = await _on_terminal(remote, running, argv)
        else:
            code = await _on_pipes(remote, running, argv)
    except (exec_process.NotRunning, OSError) as error:
        await remote.finish(failure(f"cannot exec in container: {error}"))
        return
    await remote.finish(exit_status(code if code >= 0 else 128 - code))


async def serve_attach(remote: Remote, running: Running) -> None:
    """Join the user to the container's own standard streams."""
    feed = asyncio.create_task(_feed_container(remote, running))
    # What a young container has said already belongs to the user too: `kubectl run -i` attaches
    # only once it has seen the container run.
    query = LogQuery(follow=True, from_now=_age_s(running) > YOUNG_S)
    output = asyncio.create_task(_copy_log(remote, running, query))
    await asyncio.wait({feed, output}, return_when=asyncio.FIRST_COMPLETED)
    if feed.done() and not output.done() and feed.result():
        output.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await output
    feed.cancel()
    await remote.finish(exit_status(0))


async def _copy_log(remote: Remote, running: Running, query: LogQuery) -> None:
    async for text in follow_log(Path(running.log), query, lambda: _has_ended(running)):
        await remote.send(Channel.STDOUT, text)


def _age_s(running: Running) -> float:
    started = datetime.fromisoformat(running.started_at[:19]).replace(tzinfo=UTC)
    return (datetime.now(UTC) - started).total_seconds()


def _has_ended(running: Running) -> bool:
    return (Path(running.folder) / "exit.json").exists()


async def _feed_container(remote: Remote, running: Running) -> bool:
    """Pass on the user's input; return True once the user has gone."""
    fifo = Path(running.folder) / "stdin"
    plan = json.loads((Path(running.folder) / "plan.json").read_text())
    if not plan["stdin"]:
        while await remote.receive() is not None:
            pass  # the container reads nothing
        return True
    fd = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        while (incoming := await remote.receive()) is not None:
            channel, data = incoming
            if channel is Channel.STDIN:
                await _write(fd, STDIN_END if data is None else data)
    finally:
        os.close(fd)
    return True


async def _write(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data[:4096]) :]
        except BlockingIOError:
            await asyncio.sleep(0.01)


async def _on_pipes(remote: Remote, running: Running, argv: list[str]) -> int:
    process = await asyncio.create_subprocess_exec(
        *exec_process.command_line(running, argv, {}),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    if not (process.stdin and process.stdout and process.stderr):
        raise OSError("no pipes")
    feed = asyncio.create_task(_feed(remote, process.stdin, None))
    await asyncio.gather(
        _copy(remote, process.stdout, Channel.STDOUT),
        _copy(remote, process.stderr, Channel.STDERR),
    )
    code = await process.wait()
    feed.cancel()
    return code


async def _on_terminal(remote: Remote, running: Running, argv: list[str]) -> int:
    terminal = exec_process.Terminal()
    process = await exec_process.start_on_terminal(running, argv, terminal)
    reader, writer = await terminal.streams()
    feed = asyncio.create_task(_feed(remote, writer, terminal))
    await _copy(remote, reader, Channel.STDOUT)
    code = await process.wait()
    feed.cancel()
    writer.close()
    return code


async def _copy(remote: Remote, reader: asyncio.StreamReader, channel: Channel) -> None:
    with contextlib.suppress(OSError):  # EIO: the program has left the terminal
        while data := await reader.read(CHUNK_BYTES):
            await remote.send(channel, data)


async def _feed(
    remote: Remote, writer: asyncio.StreamWriter, terminal: exec_process.Terminal | None
) -> None:
    """Pass on the user's input and window sizes until the user has gone."""
    with contextlib.suppress(OSError):
        while (incoming := await remote.receive()) is not None:
            channel, data = incoming
            if channel is Channel.RESIZE and terminal and data:
                _resize(terminal, data)
            elif channel is Channel.STDIN and data is None and terminal is None:
                writer.close()
            elif channel is Channel.STDIN and data:
                writer.write(data)
                await writer.drain()
        writer.close()


def _resize(terminal: exec_process.Terminal, data: bytes) -> None:
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        size = json.loads(data)
        terminal.resize(int(size.get("Width", 80)), int(size.get("Height", 24)))
