"""The file that keeps what was learnt, for a proxy that starts again.

    Lease  <->  one JSON line: [name, until, addresses in hexadecimal]

Times are of the monotonic clock, so the first line names the boot that they belong to.

Invariants  A line that was cut off, as a process that is killed leaves it, costs that line alone.
            A journal that cannot be written costs a line in the log, never an answer.
Units       times in seconds of CLOCK_MONOTONIC
"""

import json
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from cairn.dns.learnt import Lease

LOG = logging.getLogger(__name__)

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SLACK_LINES = 4096
ADDRESS_OCTETS = 16


class Journal:
    """An append-only file, written anew when most of it is stale."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1
        self._lines = 0
        self._failing = False

    def load(self) -> list[Lease]:
        """Return what was learnt since the machine booted; raises OSError."""
        try:
            lines = self._path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        if lines[0] != _header():
            return []
        found = map(_read, lines[1:])
        return [lease for lease in found if lease is not None]

    def append(self, leases: Sequence[Lease]) -> None:
        """Add what was learnt."""
        if self._fd < 0:
            return
        self._lines += len(leases)
        try:
            os.write(self._fd, b"".join(map(_line, leases)))
        except OSError as error:
            self._fail(error)

    def is_stale(self, held: int) -> bool:
        """Return whether it should be written anew, for `held` leases."""
        return self._lines > 2 * held + SLACK_LINES

    def rewrite(self, leases: Iterable[Lease]) -> None:
        """Write all that is held in place of what is there."""
        fresh = self._path.with_name(self._path.name + ".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        except OSError as error:
            self._fail(error)
            return
        lines = [_line(lease) for lease in leases]
        try:
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(_header() + b"\n")
                file.writelines(lines)
            fresh.replace(self._path)
        except OSError as error:
            os.close(fd)
            self._fail(error)
            return
        self.close()
        self._fd, self._lines, self._failing = fd, len(lines), False

    def close(self) -> None:
        """Give the file back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _fail(self, error: OSError) -> None:
        if not self._failing:
            LOG.error(
                "names learnt are in force but not kept in %s: %s; a restart would forget them",
                self._path,
                error.strerror,
            )
        self._failing = True


def _header() -> bytes:
    return json.dumps({"boot": BOOT_ID.read_text().strip()}).encode()


def _line(lease: Lease) -> bytes:
    addresses = [address.hex() for address in lease.addresses]
    return json.dumps([lease.name, round(lease.until, 3), addresses]).encode() + b"\n"


def _read(line: bytes) -> Lease | None:
    try:
        name, until, addresses = json.loads(line)
        octets = tuple(map(bytes.fromhex, addresses))
        if any(len(address) != ADDRESS_OCTETS for address in octets):
            return None
        return Lease(str(name), octets, float(until))
    except (ValueError, TypeError):
        return None
