"""Responses in batches: as many as are there, so that they are printed together.

    iterator that waits  ->  thread, bounded queue  ->  batches

Invariants  What the iterator raises is raised to whoever takes batches, after what came before.
            A slow taker holds the reader, which holds the server: nothing piles up.
"""

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

WAITING = 4096
MOST = 1000
"""Flows of a batch: their columns are as wide as the widest needs."""
FIRST_S, NEXT_S = 0.25, 0.02


class _End:
    """After the last response."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


def batches(responses: Iterator[Any]) -> Iterator[list[Any]]:
    """Yield what comes, some at a time, the first after a moment at most; raises what they do."""
    waiting: queue.Queue[Any] = queue.Queue(WAITING)
    threading.Thread(target=_read, args=(responses, waiting), daemon=True).start()
    wait_s = FIRST_S
    while True:
        batch, end = _gather(waiting, wait_s)
        wait_s = NEXT_S
        if batch:
            yield batch
        if end is not None:
            if end.error is not None:
                raise end.error
            return


def _read(responses: Iterator[Any], waiting: "queue.Queue[Any]") -> None:
    error: Exception | None = None
    try:
        for response in responses:
            waiting.put(response)
    except Exception as raised:
        error = raised
    waiting.put(_End(error))


def _gather(waiting: "queue.Queue[Any]", wait_s: float) -> tuple[list[Any], _End | None]:
    found = waiting.get()
    end_at = time.monotonic() + wait_s
    batch: list[Any] = []
    while not isinstance(found, _End):
        batch.append(found)
        left_s = end_at - time.monotonic()
        if len(batch) >= MOST or left_s <= 0:
            return batch, None
        try:
            found = waiting.get(timeout=left_s)
        except queue.Empty:
            return batch, None
    return batch, found
