"""Whether the kernel's clock is synchronised, as the one who keeps it told the kernel.

nothing  ->  True, False, None (the kernel does not say)

Standards   adjtimex(2)
"""

import ctypes
import ctypes.util

_TIMEX_BYTES = 208
_MODES = 0
STATUS_OFFSET = 40
"""Of `status` in struct timex, where `long` has 8 octets."""
STA_UNSYNC = 0x0040
TIME_ERROR = 5


def clock_synchronised() -> bool | None:
    """Return whether somebody keeps this machine's clock right; None if nobody can tell."""
    library = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6", use_errno=True)
    timex = (ctypes.c_ubyte * _TIMEX_BYTES)()
    state = library.adjtimex(ctypes.byref(timex))
    if state < 0:
        return None
    status = int.from_bytes(bytes(timex[STATUS_OFFSET : STATUS_OFFSET + 4]), "little")
    return state != TIME_ERROR and not status & STA_UNSYNC
