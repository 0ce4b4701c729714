"""Drops by the kernel itself: the program that tells of them, and the network namespaces it is for.

    the running kernel's reasons, endpoints  ->  a pinned link, map `watched_netns`

Layout      PINS/links/kernel_drop
Invariants  Where the kernel does not let it, nothing else suffers: `state` says why, in one line.
            Only namespaces of this node and of its pods are told of; other nodes may share the
            kernel.
Standards   linux/include/trace/events/skb.h: kfree_skb
Not here    Which reasons are told (observe.kernel_reason).
"""

import logging
import os
from collections.abc import Iterable

from cairn.abi.event import Netns
from cairn.abi.structs import ConfigFlag
from cairn.apply.data_plane import DataPlane
from cairn.desired.endpoint import PodEndpoint
from cairn.libbpf import BpfError, Map, Object, attach_tracepoint
from cairn.libbpf.kernel_types import kernel_enum
from cairn.observe import kernel_reason

NAME = "kernel_drop"
OWN_NETNS = "/proc/thread-self/ns/net"

log = logging.getLogger(__name__)


class KernelWatch:
    """The program of one node."""

    def __init__(self, data_plane: DataPlane) -> None:
        self._data_plane = data_plane
        self._watched: Map | None = None
        self._inodes: dict[tuple[str, str], int] = {}
        self.names: dict[int, str] = {}
        """This kernel's reasons; empty if it tells none."""
        self.state = ""
        """Why nothing is told, for people; empty if all is well."""

    def name(self, number: int) -> str:
        """Return what the kernel calls a reason."""
        return self.names.get(number, str(number))

    def start(self, pods: Iterable[PodEndpoint]) -> None:
        """Watch this node and these pods, in the place of what an earlier agent watched."""
        try:
            self.names = kernel_reason.short_names(kernel_enum(kernel_reason.ENUM))
            loaded = self._load()
            self._watched = loaded.maps["watched_netns"]
            for key, _ in list(self._watched.items()):
                self._watched.delete(key)
            self._put(os.stat(OWN_NETNS).st_ino, Netns.NODE)
            for endpoint in pods:
                self.add(endpoint)
            self._attach(loaded)
        except (BpfError, OSError) as error:
            self.names = {}
            self.state = f"drops by the kernel itself are not told: {error}"
            log.warning("%s", self.state)

    def reload(self) -> None:
        """Put the program that the data plane's flags ask for in its place; raises BpfError."""
        if not self.state:
            with self._load() as loaded:
                self._attach(loaded)

    def _load(self) -> Object:
        return self._data_plane.load_beside(
            NAME,
            flags=ConfigFlag(0),
            sections={".rodata.kernel": kernel_reason.telling(self.names)},
            sizes={},
        )

    def _attach(self, loaded: Object) -> None:
        attach_tracepoint(loaded.programs[NAME], self._data_plane.links / NAME).close()

    def add(self, endpoint: PodEndpoint) -> None:
        """Watch a pod's namespace too."""
        try:
            inode = os.stat(endpoint.netns).st_ino
        except OSError as error:
            log.warning("pod %s/%s: the kernel's drops there are not told: %s",
                        endpoint.namespace, endpoint.pod, error)  # fmt: skip
            return
        self._inodes[_key(endpoint)] = inode
        self._put(inode, Netns.POD)

    def remove(self, endpoint: PodEndpoint) -> None:
        """Watch a pod's namespace no longer."""
        inode = self._inodes.pop(_key(endpoint), None)
        if inode is not None and self._watched is not None:
            self._watched.delete(inode.to_bytes(4, "little"))

    def _put(self, inode: int, whose: Netns) -> None:
        if self._watched is not None:
            self._watched.update(inode.to_bytes(4, "little"), whose.to_bytes(4, "little"))


def _key(endpoint: PodEndpoint) -> tuple[str, str]:
    return endpoint.container_id, endpoint.ifname
