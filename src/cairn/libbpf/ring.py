"""Read a BPF ring buffer in batches, straight from the memory it shares with the kernel.

    ring buffer map  ->  numpy array of records

Shapes      `drain` gives shape (records,), of the dtype it was made with
Invariants  All records of a ring have one size.
Standards   linux/kernel/bpf/ringbuf.c
Not here    the meaning of a record (abi)
"""

import mmap

import numpy as np
import numpy.typing as npt

from cairn.libbpf.error import BpfError
from cairn.libbpf.table import Map

_HEADER_BYTES = 8
_BUSY = np.uint32(1 << 31)
_DISCARDED = np.uint32(1 << 30)


class Ring:
    """A consumer of one ring buffer; there must be no other. Its `fd` polls readable."""

    def __init__(self, table: Map, record: np.dtype[np.void]) -> None:
        page = mmap.PAGESIZE
        self.fd = table.fd
        self._size = table.shape.max_entries
        self._record = record
        self._step = (record.itemsize + _HEADER_BYTES + 7) // 8 * 8
        self._consumer = mmap.mmap(table.fd, page, mmap.MAP_SHARED)
        self._producer = mmap.mmap(
            table.fd, page + 2 * self._size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page
        )
        self._framed = np.dtype(
            {
                "names": ["length", "record"],
                "formats": ["<u4", record],
                "offsets": [0, _HEADER_BYTES],
                "itemsize": self._step,
            }
        )

    def drain(self) -> npt.NDArray[np.void]:
        """Return a copy of the records that are complete, and free their room."""
        consumed = int(np.frombuffer(self._consumer, np.uint64, 1)[0])
        produced = int(np.frombuffer(self._producer, np.uint64, 1)[0])
        count = (produced - consumed) // self._step
        if count <= 0:
            return np.empty(0, self._record)
        start = mmap.PAGESIZE + (consumed & (self._size - 1))
        frames = np.frombuffer(self._producer, self._framed, count, start)
        lengths = frames["length"].copy()
        busy = np.flatnonzero(lengths & _BUSY)
        if len(busy):
            count = int(busy[0])
            frames, lengths = frames[:count], lengths[:count]
        kept = (lengths & _DISCARDED) == 0
        sizes = lengths[kept] & ~(_BUSY | _DISCARDED)
        if len(sizes) and (sizes != self._record.itemsize).any():
            raise BpfError(
                f"ring buffer holds records of {int(sizes[0])} octets, not "
                f"{self._record.itemsize}: the programs are of another version"
            )
        records: npt.NDArray[np.void] = frames["record"][kept].copy()
        np.frombuffer(self._consumer, np.uint64, 1)[0] = consumed + count * self._step
        return records
