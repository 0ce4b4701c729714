"""Keeps the proxy running: a parent that does nothing else, and starts it anew when it dies.

    work(orphaned)  ->  a child process  ->  its exit status, or another child

The parent has all modules loaded, so that another child serves within milliseconds, while a
container that ends is started again after a pause that grows.

Invariants  A child that is told to stop, or cannot start, is not replaced.
            A child whose parent is gone sees `orphaned` end (EOF) and leaves, too.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import NoReturn

LOG = logging.getLogger("dns")

STOPS = (signal.SIGTERM, signal.SIGINT)
PAUSE_S = 1.0
"""Before another child, if the last one did not live for as long."""


def keep(work: Callable[[int], int]) -> int:
    """Run `work` in a child until it ends by itself; return its exit status.

    `work` gets a descriptor that ends when the parent does.
    """
    orphaned, held = os.pipe()
    child = 0
    stopping = False

    def stop(number: int, _: object) -> None:
        nonlocal stopping
        stopping = True
        if child:
            os.kill(child, number)

    for number in STOPS:
        signal.signal(number, stop)
    while not stopping:
        born = time.monotonic()
        # A signal between the fork and the child's own handlers would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        child = os.fork()
        if not child:
            os.close(held)
            _become(work, orphaned)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        _, status = os.waitpid(child, 0)
        child = 0
        code = os.waitstatus_to_exitcode(status)
        if code >= 0 or stopping:
            return max(code, 0)
        LOG.error("DNS proxy was ended by %s: another one starts", signal.Signals(-code).name)
        if time.monotonic() - born < PAUSE_S:
            time.sleep(PAUSE_S)
    return 0


def _become(work: Callable[[int], int], orphaned: int) -> NoReturn:
    """Be the child."""
    code = 1
    try:
        for number in STOPS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
        code = work(orphaned)
    except Exception as error:
        LOG.error("DNS proxy ends: %s: %s", type(error).__name__, error)
    os._exit(code)
