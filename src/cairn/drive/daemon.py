"""A process that runs until told to stop, and says in one line why it cannot.

    coroutine  ->  exit status

Invariants  SIGTERM and SIGINT cancel the coroutine, so that it can clean up; status 0 then.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
import traceback
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from cairn.drive.kube_client import ApiError
from cairn.drive.kubeconfig import NoAccess


def run_daemon(name: str, main: Coroutine[Any, Any, None], *, verbose: bool = False) -> int:
    """Run `main` with logging on standard error; return the exit status."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format=f"%(asctime)s %(levelname).1s {name}: %(message)s",
        stream=sys.stderr,
    )
    for noisy in ("asyncio", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    collect_seldom()
    try:
        asyncio.run(_until_signal(main))
    except Exception as error:
        sys.stderr.write(f"{name}: {spell(_first(error))}\n")
        return 1
    return 0


def collect_seldom() -> None:
    """Let the garbage collector look less often, and not at what the modules hold.

    A daemon keeps thousands of decoded objects, which have no cycles: looking through all of them
    after every few hundred new ones was a fifth of the operator's time.
    """
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def collect_once() -> None:
    """Collect garbage now, and let the collector never look again at what is held.

    For a daemon that has read all it works on: a whole collection stops everything meanwhile, a
    third of a second for a million objects.
    """
    gc.collect()
    gc.freeze()


async def _until_signal(main: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(main)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def spell(error: BaseException) -> str:
    """Return the error in one line: what it says, and for those nobody foresaw, where it arose."""
    text = " ".join(str(error).split())
    if isinstance(error, (NoAccess, ApiError, OSError)) and text:
        return text
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {text}{place}"


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
