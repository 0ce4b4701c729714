"""What goes wrong at the door to BPF, as one line for the user.

errno, operation  ->  BpfError
"""

import errno
import os

HINTS: dict[int, str] = {
    errno.EPERM: "run as root, or give the process CAP_BPF and CAP_NET_ADMIN",
    errno.ENOSYS: "this kernel has no bpf(); it needs CONFIG_BPF_SYSCALL",
    errno.ENOMEM: "the node is out of memory: make the map smaller",
}


class BpfError(Exception):
    """A BPF operation that the kernel or libbpf refused."""

    def __init__(self, what: str, code: int = 0, *, detail: str = "") -> None:
        self.code = code
        self.what = what
        self.detail = detail
        reason = detail or (os.strerror(code) if code else "")
        hint = HINTS.get(code, "") if not detail else ""
        super().__init__(": ".join(part for part in (what, reason, hint) if part))
