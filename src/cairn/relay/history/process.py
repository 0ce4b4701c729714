"""Runs a job of the history in a process of its own.

    Job  ->  replies, Failed if the process dies

Invariants  The process ends with its job, or is ended when nobody waits any more.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncGenerator

import msgspec

from cairn.relay.history.jobs import (
    MAX_MESSAGE_BYTES,
    Failed,
    Job,
    Reply,
    read_reply,
    write_message,
)

GRACE_S = 10.0
"""How much longer than its own limit a process may take."""


async def stream_job(job: Job) -> AsyncGenerator[Reply, None]:
    """Yield what the job answers, as it comes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cairn.relay.history.worker"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdin, stdout, stderr = process.stdin, process.stdout, process.stderr
    if stdin is None or stdout is None or stderr is None:
        raise RuntimeError("a process without its pipes")
    try:
        async with asyncio.timeout(job.limits.time_s + GRACE_S):
            stdin.write(write_message(job))
            stdin.close()
            last: Reply | None = None
            while (reply := await _read(stdout)) is not None:
                last = reply
                yield reply
            said = await stderr.read()
            code = await process.wait()
    except TimeoutError:
        yield Failed(f"no answer within {job.limits.time_s:.0f} s: ask about less time")
        return
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if code or last is None:
        lines = said.decode(errors="replace").strip().splitlines()
        why = lines[-1] if lines else f"exit status {code}"
        yield Failed(f"the process that answers died: {why}")


async def run_job(job: Job) -> Reply:
    """Return the job's last reply."""
    last: Reply = Failed("no answer")
    async with contextlib.aclosing(stream_job(job)) as replies:
        async for reply in replies:
            last = reply
    return last


async def _read(stream: asyncio.StreamReader) -> Reply | None:
    try:
        length = int.from_bytes(await stream.readexactly(4), "little")
        if length > MAX_MESSAGE_BYTES:
            return Failed(f"a reply of {length} octets")
        return read_reply(await stream.readexactly(length))
    except (asyncio.IncompleteReadError, msgspec.DecodeError):
        return None
