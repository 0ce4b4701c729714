"""The data plane's view of names: which selectors each address belongs to, and who talks to it.

    address, selectors  ->  pages of `policy_names`;  `policy_flows`  ->  addresses that are in use

Invariants  A selector that an address keeps is never missing from its pages on the way from the old
            to the new: pages grow from the last to the first and shrink from the first to the last.
            A map that another is pinned in place of is left at once: `write` then fails, and all
            is to be written again.
Cost        about 5 µs an address; a walk of the flows about 0.5 µs an entry, in pieces
Standards   bpf/include/cairn/policy.h
"""

import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from cairn.abi.flow import FlowFlag, FlowKey, PolicyFlow
from cairn.abi.policy import NAME_SELECTORS, NameKey, NamePage
from cairn.libbpf import BpfError, Map
from cairn.net import Protocol

NAMES, FLOWS = "policy_names", "policy_flows"
_PAGE = struct.Struct(f"={NAME_SELECTORS}I")
_KEY = struct.Struct("=16sI")
_BATCH = 16
PROTOCOL_AT = 36
"""Where cairn_flow_key has the protocol."""
TCP_IDLE_S = 7500.0
"""A TCP connection that was silent for longer is gone: keepalives come every two hours."""
IDLE_S = 180.0
"""Likewise of other protocols."""
BRIEF_S = 60.0
"""Likewise of what closes, or was never answered."""


class NameMap:
    """`policy_names`, pinned by the agent."""

    def __init__(self, pins: Path) -> None:
        self._path = pins / NAMES
        self._map: Map | None = None
        self._inode = 0
        self._pages: dict[bytes, int] = {}

    def reopen(self) -> bool:
        """Open what is pinned now; return whether that is another map than before."""
        try:
            inode = self._path.stat().st_ino
        except OSError:
            inode = 0
        if inode == self._inode:
            return False
        self.close()
        if inode:
            try:
                self._map = Map.open_pinned(self._path)
            except BpfError:
                return False
            if (self._map.shape.key_bytes, self._map.value_bytes) != (NameKey.SIZE, NamePage.SIZE):
                self.close()
                return False
            self._inode = inode
        return True

    def close(self) -> None:
        """Give the map back."""
        if self._map is not None:
            self._map.close()
        self._map, self._inode = None, 0
        self._pages.clear()

    def read(self) -> dict[bytes, tuple[int, ...]]:
        """Return what the map holds; raises BpfError."""
        pages: dict[bytes, dict[int, tuple[int, ...]]] = {}
        for key, value in self._map.items() if self._map is not None else ():
            address, page = _KEY.unpack(key)
            pages.setdefault(address, {})[page] = _PAGE.unpack(value)
        self._pages = {address: max(found) + 1 for address, found in pages.items()}
        return {
            address: tuple(
                identity for page in sorted(found) for identity in found[page] if identity
            )
            for address, found in pages.items()
        }

    def write(self, changes: Mapping[bytes, tuple[int, ...]]) -> dict[bytes, str]:
        """Write the selectors of addresses; return those that failed, and why."""
        if self._map is None:
            return dict.fromkeys(changes, f"{self._path} is not there: does the agent run?")
        if len(changes) > _BATCH and self._write_fresh(self._map, changes):
            return {}
        failed = {}
        for address, selectors in changes.items():
            try:
                self._write_one(self._map, address, selectors)
            except BpfError as error:
                failed[address] = str(error)
        return failed

    def _write_fresh(self, names: Map, changes: Mapping[bytes, tuple[int, ...]]) -> bool:
        """Write many addresses at once, if all are new and on one page; return whether it was."""
        if any(address in self._pages for address in changes):
            return False
        if not all(0 < len(selectors) <= NAME_SELECTORS for selectors in changes.values()):
            return False
        keys = b"".join(_KEY.pack(address, 0) for address in changes)
        values = b"".join(_page(selectors) for selectors in changes.values())
        try:
            names.update_batch(keys, values)
        except BpfError:
            return False
        self._pages.update(dict.fromkeys(changes, 1))
        return True

    def _write_one(self, names: Map, address: bytes, selectors: tuple[int, ...]) -> None:
        before = self._pages.get(address, 0)
        wanted = (len(selectors) + NAME_SELECTORS - 1) // NAME_SELECTORS
        order = range(wanted) if wanted < before else reversed(range(wanted))
        # Told before it is done: what fails halfway is looked at again as if it stood.
        self._pages[address] = max(before, wanted)
        for page in order:
            part = selectors[page * NAME_SELECTORS : (page + 1) * NAME_SELECTORS]
            names.update(_KEY.pack(address, page), _page(part))
        for page in reversed(range(wanted, before)):
            names.delete(_KEY.pack(address, page))
        if wanted:
            self._pages[address] = wanted
        else:
            del self._pages[address]


class FlowMap:
    """`policy_flows`, as far as it tells which addresses are in use."""

    def __init__(self, pins: Path) -> None:
        self._path = pins / FLOWS

    def walk(self, wanted: set[bytes], used: set[bytes], idle: dict[bytes, bytes]) -> Iterator[int]:
        """Look for connections to addresses, in pieces: yields how many entries each had.

        Adds addresses to `used` that a live connection was opened to; to `idle`, the keys of those
        that are over, with the address. Raises BpfError.
        """
        with Map.open_pinned(self._path) as flows:
            if (flows.shape.key_bytes, flows.value_bytes) != (FlowKey.SIZE, PolicyFlow.SIZE):
                raise BpfError(f"{self._path}: not a map of this version's connections")
            for keys, values, count in flows.batches():
                for at in range(count):
                    key = keys[at * FlowKey.SIZE : (at + 1) * FlowKey.SIZE]
                    if key[:16] not in wanted and key[16:32] not in wanted:
                        continue
                    value = values[at * PolicyFlow.SIZE : (at + 1) * PolicyFlow.SIZE]
                    flow = PolicyFlow.read(value)
                    address = key[:16] if flow.flags & FlowFlag.OPENED_HIGH else key[16:32]
                    if address not in wanted:
                        continue
                    if is_live(flow, key[PROTOCOL_AT], time.monotonic_ns()):
                        used.add(address)
                    else:
                        idle[key] = address
                yield count

    def drop(self, keys: list[bytes]) -> None:
        """Forget connections that are over: if they go on they are judged anew."""
        if keys:
            with Map.open_pinned(self._path) as flows:
                for key in keys:
                    flows.delete(key)


def is_live(flow: PolicyFlow, protocol: int, now_ns: int) -> bool:
    """Return whether a connection is still in use."""
    if flow.flags & FlowFlag.CLOSING or not flow.flags & FlowFlag.ANSWERED:
        limit_s = BRIEF_S
    else:
        limit_s = TCP_IDLE_S if protocol == Protocol.TCP else IDLE_S
    return now_ns - flow.seen_ns < limit_s * 1e9


def _page(selectors: tuple[int, ...]) -> bytes:
    return _PAGE.pack(*selectors, *(0,) * (NAME_SELECTORS - len(selectors)))
