"""End sockets of this node that talk to a backend which is no more.

    backends, map `socket_reverse`, network namespaces  ->  sockets destroyed

A process that connected to a Service was translated at connect(): its socket knows the backend
alone. TCP to a backend that has vanished hangs until its timeout, connected UDP sends into nothing
for ever. A destroyed socket tells its process at once (ECONNABORTED; EDESTADDRREQ where it sends
a datagram), which then connects anew.

Invariants  Only sockets that the data plane translated are ended, found by cookie and peer: one
            that a process connected to the pod itself is its own affair.
            `socket_reverse` forgets what was used least recently when it is full: a socket that is
            not in it is not found.
Cost        a walk of `socket_reverse`; then, if a socket is found, of all sockets in each
            network namespace
Standards   linux/net/core/filter.c (bpf_sock_destroy, kernel 6.5)
"""

import logging
from collections.abc import Collection, Iterable
from importlib.resources import as_file, files

import numpy as np
from numpy.typing import NDArray

from cairn.abi.address import write_address
from cairn.abi.records import SOCKET_KEY
from cairn.libbpf import AttachType, Link, Map, Object, load_object
from cairn.linux import namespace
from cairn.net import Address, Protocol

PROGRAMS = {Protocol.TCP: "end_tcp", Protocol.UDP: "end_udp"}
MOST = 65536
"""Sockets ended in one go: as many as the map holds."""
_TOLD = b"\1\0\0\0"
_PRIME = np.uint64(0x9E3779B97F4A7C15)

log = logging.getLogger(__name__)

Place = tuple[Address, int]
Sockets = dict[bytes, Place]
"""Keys of `socket_reverse`, with the backend that each talks to."""


class SocketEnder:
    """The iterators, loaded."""

    def __init__(self, reverse: Map, loaded: Object) -> None:
        self._reverse = reverse
        self._loaded = loaded
        self._links = {
            protocol: Link.create(loaded.programs[name], AttachType.TRACE_ITER, 0)
            for protocol, name in PROGRAMS.items()
        }

    @classmethod
    def load(cls, reverse: Map) -> "SocketEnder":
        """Load the iterators; raises BpfError if the kernel cannot end sockets."""
        with as_file(files("cairn") / "_bpf") as folder:
            return cls(reverse, load_object(folder / "socket_end.o"))

    def close(self) -> None:
        """Give all descriptors back."""
        for link in self._links.values():
            link.close()
        self._loaded.close()

    def find(self, backends: Collection[Place], protocol: Protocol) -> Sockets:
        """Return the sockets that were translated to any of these backends."""
        places = {write_address(a) + port.to_bytes(2, "big"): (a, port) for a, port in backends}
        wanted = _hashes(np.frombuffer(b"".join(places), _PEER))
        found: Sockets = {}
        for octets, _, _ in self._reverse.batches():
            keys = np.frombuffer(octets, SOCKET_KEY)
            mask = (keys["protocol"] == protocol) & np.isin(_hashes(keys), wanted)
            for at in np.flatnonzero(mask):
                key = keys[at].tobytes()
                place = places.get(key[8:26])
                if place is not None:
                    found[key] = place
        return found

    def end(self, sockets: Collection[bytes], protocol: Protocol, netns: Iterable[str]) -> int:
        """End these sockets, wherever they are: here or in one of the namespaces.

        `netns`: files that stand for network namespaces; one that is gone is passed over.
        Returns how many went; raises BpfError.
        """
        told = self._loaded.maps["ending_sockets"]
        chosen = b"".join(list(sockets)[:MOST])
        told.update_batch(chosen, _TOLD * (len(chosen) // SOCKET_KEY.itemsize))
        try:
            link = self._links[protocol]
            ended = link.iterate()
            for path in netns:
                try:
                    ended += namespace.call_at(path, link.iterate)
                except OSError as error:
                    log.debug("network namespace %s: %s", path, error)
        finally:
            told.delete_batch(chosen)
        self._reverse.delete_batch(chosen)
        return len(ended) // SOCKET_KEY.itemsize


_PEER = np.dtype([("address", "V16"), ("port", ">u2")])


def _hashes(peers: NDArray[np.void]) -> NDArray[np.uint64]:
    """Return a number per peer, equal for equal ones; whoever finds one compares the whole."""
    words = np.ascontiguousarray(peers["address"]).view(np.uint64).reshape(-1, 2)
    mixed: NDArray[np.uint64] = words[:, 0] * _PRIME ^ words[:, 1]
    return mixed * _PRIME ^ peers["port"].astype(np.uint64)
