"""What the C library keeps of the memory that a process gave back.

    heaps of the C library  ->  fewer of them, and their free pages returned

Standards   mallopt(3), malloc_trim(3)
"""

import ctypes

_LIBC = ctypes.CDLL(None)
_ARENA_MAX = -8


def share_arenas() -> None:
    """Let threads share their heaps: each would keep the most that it ever used."""
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_ARENA_MAX, 1)


def trim() -> None:
    """Give the system back what is free, after a task that needed much for a moment."""
    if hasattr(_LIBC, "malloc_trim"):
        _LIBC.malloc_trim(0)
