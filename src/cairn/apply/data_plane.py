"""The node's eBPF programs: loaded, at their hooks, pinned so that they outlive the agent.

    object files, Uplink, pins left by an earlier agent  ->  programs that run, maps to write

Layout      PINS/MAP; PINS/links/uplink_ingress, uplink_egress, socket_*; PINS/links/pod-IFNAME,
            pod-egress-IFNAME

Invariants  A program is replaced in place (link update): no packet meets a hook without one.
            What an earlier agent pinned is taken over, never wiped.
Standards   linux/kernel/bpf/tcx.c, linux/kernel/bpf/cgroup.c
Not here    What the maps hold (apply.load_balancer, apply.peers).
"""

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

from cairn.abi import structs
from cairn.abi.address import write_address
from cairn.abi.structs import ConfigFlag, EndpointFlag, Identity
from cairn.apply.uplink import Uplink
from cairn.desired.endpoint import PodEndpoint
from cairn.libbpf import AttachType, BpfError, Link, Map, Object, Program, attach, load_object
from cairn.net import parse_address, parse_mac

EVENT_INTERVAL_NS = 100_000_000
"""In this time each CPU tells of so many:"""
DROP_EVENTS = 1_000
"""dropped packets of one reason, or audited connections;"""
CONNECTION_EVENTS = 20_000
"""connections that begin, that end, that are translated, handed over, given to a proxy."""

ENTRIES_PER_S = 20_000
"""New connections a second, on each CPU, that get an entry where they are handed over: far more
than a home has, far less than fills the map before the sweeper comes."""

UPLINK_HOOKS = {
    "uplink_ingress": AttachType.TCX_INGRESS,
    "uplink_egress": AttachType.TCX_EGRESS,
}
SOCKET_HOOKS = {
    "socket_connect4": AttachType.CGROUP_CONNECT4,
    "socket_connect6": AttachType.CGROUP_CONNECT6,
    "socket_sendmsg4": AttachType.CGROUP_SENDMSG4,
    "socket_sendmsg6": AttachType.CGROUP_SENDMSG6,
    "socket_recvmsg4": AttachType.CGROUP_RECVMSG4,
    "socket_recvmsg6": AttachType.CGROUP_RECVMSG6,
    "socket_getpeername4": AttachType.CGROUP_GETPEERNAME4,
    "socket_getpeername6": AttachType.CGROUP_GETPEERNAME6,
}
FIXED_MAPS = frozenset(
    {
        "metrics",
        "overlay",
        "event_gates",
        "entry_limit",
        "refusal_limit",
        "policing",
        "trace_filters",
        "trace_notes",
    }
)
"""Maps whose size belongs to the programs."""
OVERLAY_HOOKS = {
    "overlay_ingress": AttachType.TCX_INGRESS,
    "overlay_egress": AttachType.TCX_EGRESS,
}
NO_ADDRESS = parse_address("::")
POD_HOOKS = {
    "pod_egress": AttachType.TCX_EGRESS,
    "pod_ingress": AttachType.TCX_INGRESS,
}
SOCKET = "socket"
OBJECTS = (*UPLINK_HOOKS, *POD_HOOKS, SOCKET)
_ZERO = bytes(4)
_NO_FLAGS = ConfigFlag(0)

log = logging.getLogger(__name__)


class DataPlane:
    """The programs of one node."""

    def __init__(
        self,
        objects: Mapping[str, Object],
        pins: Path,
        uplink: Uplink,
        sizes: Mapping[str, int] | None = None,
        flags: ConfigFlag = _NO_FLAGS,
    ) -> None:
        self.maps: dict[str, Map] = {
            name: table for loaded in objects.values() for name, table in loaded.maps.items()
        }
        """Maps by name; all objects share them."""
        self._programs: dict[str, Program] = {
            name: program
            for loaded in objects.values()
            for name, program in loaded.programs.items()
        }
        self._variants = {False: self._programs}
        self._objects = set(objects)
        self.turn = threading.RLock()
        """Held while programs are put at hooks, so that none gets one that has had its day."""
        self._pins = pins
        self.links = pins / "links"
        """Where the links are pinned."""
        self._uplink = uplink
        self._sizes = sizes
        self.flags = flags
        """What the programs are loaded with."""

    @classmethod
    def load(
        cls,
        pins: Path,
        uplink: Uplink,
        sizes: Mapping[str, int] | None = None,
        *,
        events: bool = True,
    ) -> "DataPlane":
        """Load every object; maps that are pinned already are shared, with what they hold.

        `sizes`: entries by map name, for maps that are to hold more or fewer than by default; of
        `events` octets. `events`: whether every pod's connections become events.

        Raises BpfError with the object and the verifier's or the kernel's reason.
        """
        flags = ConfigFlag.EVENTS if events else _NO_FLAGS
        objects = _load(OBJECTS, pins, uplink, sizes, flags)
        known = {name for loaded in objects.values() for name in loaded.maps if "." not in name}
        if unknown := (sizes or {}).keys() - known:
            raise BpfError(
                f"--map-size {', '.join(sorted(unknown))}: no such map; "
                f"there are {', '.join(sorted(known - FIXED_MAPS))}"
            )
        return cls(objects, pins, uplink, sizes, flags)

    def program(self, name: str) -> Program:
        """Return a loaded program."""
        return self._programs[name]

    def attach_node(self, cgroup: Path) -> None:
        """Put the programs at the uplink and at the node's cgroup."""
        self.attach_uplink()
        group = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name, hook in SOCKET_HOOKS.items():
                self._attach(name, hook, group, name)
        finally:
            os.close(group)

    def attach_uplink(self) -> None:
        """Put the programs at the uplink."""
        for name, hook in UPLINK_HOOKS.items():
            self._attach(name, hook, self._uplink.ifindex, name)

    def attach_overlay(self, ifindex: int) -> None:
        """Put the programs at the VXLAN device, and let the others send there.

        They are loaded when first needed: most clusters lie on one subnet.
        """
        with self.turn:
            if OVERLAY_HOOKS.keys() - self._programs.keys():
                self._add(OVERLAY_HOOKS)
        for name, hook in OVERLAY_HOOKS.items():
            self._attach(name, hook, ifindex, name)
        self.maps["overlay"].update(_ZERO, ifindex.to_bytes(4, "little"))

    def _add(self, names: Iterable[str]) -> None:
        for name, loaded in _load(names, self._pins, self._uplink, self._sizes, self.flags).items():
            self._programs.update(loaded.programs)
            self._objects.add(name)

    def trace(self, *, on: bool) -> None:
        """Have programs at every hook that tell of the packets that `trace_filters` asks for, or
        those that do not.

        Both kinds are kept once they are loaded, so that they can be exchanged at once.
        """
        with self.turn:
            self._programs = self._variants.setdefault(on, dict(self._sockets()))
            self.flags = self.flags | ConfigFlag.TRACE if on else self.flags & ~ConfigFlag.TRACE
            self._add(self._objects - self._programs.keys() - {SOCKET})
            for pin in self.links.glob("*"):
                name = program_at(pin.name)
                if name in self._programs:
                    with Link.open_pinned(pin) as link:
                        link.update(self._programs[name])

    def _sockets(self) -> Iterator[tuple[str, Program]]:
        """Yield the programs that see no packets: the same for both."""
        return ((name, self._programs[name]) for name in SOCKET_HOOKS)

    def detach_overlay(self) -> None:
        """Let no program send to the VXLAN device any more, and take those away that are there."""
        self.maps["overlay"].update(_ZERO, _ZERO)
        for name in OVERLAY_HOOKS:
            (self.links / name).unlink(missing_ok=True)

    def load_beside(
        self,
        name: str,
        *,
        flags: ConfigFlag,
        sections: Mapping[str, bytes],
        sizes: Mapping[str, int],
    ) -> Object:
        """Load an object that not every node needs, on the maps of the others.

        `sections`: content of read-only sections besides the configuration; `sizes`: entries of
        the maps that are its own.
        """
        own = {**(self._sizes or {}), **sizes}
        return _load((name,), self._pins, self._uplink, own, flags | self.flags, sections)[name]

    def attach_pod(self, endpoint: PodEndpoint) -> None:
        """Police and forward what the pod sends, and make the pod reachable.

        A pod that is new is closed until its policy is in the maps (apply.policy_maps).
        """
        ingress, egress = _pod_pins(endpoint)
        value = structs.Endpoint(
            ifindex=endpoint.host_ifindex,
            mac=parse_mac(endpoint.mac),
            host_mac=parse_mac(endpoint.host_mac),
            flags=EndpointFlag.CLOSED,
            identity=Identity.NONE,
        )
        self._attach("pod_egress", POD_HOOKS["pod_egress"], endpoint.host_ifindex, egress)
        for address in endpoint.addresses:
            key = write_address(address)
            held = self.maps["endpoints"].lookup(key)
            before = structs.Endpoint.read(held) if held else value
            same = (before.ifindex, before.mac) == (value.ifindex, value.mac)
            kept = before if same else value  # whose it is, and what the programs noted of it
            entry = replace(value, flags=kept.flags, identity=kept.identity)
            self.maps["endpoints"].update(key, entry.write())
        self._attach("pod_ingress", POD_HOOKS["pod_ingress"], endpoint.host_ifindex, ingress)

    def detach_pod(self, endpoint: PodEndpoint) -> None:
        """Forget the pod; its links go with its interface."""
        for address in endpoint.addresses:
            key = write_address(address)
            held = self.maps["endpoints"].lookup(key)
            if held and structs.Endpoint.read(held).ifindex == endpoint.host_ifindex:
                self.maps["endpoints"].delete(key)
        for pin in _pod_pins(endpoint):
            (self.links / pin).unlink(missing_ok=True)

    def take_over(self, endpoints: Iterable[PodEndpoint]) -> None:
        """Bring the pods of an earlier agent up to date and drop what is left of others."""
        known = tuple(endpoints)
        for endpoint in known:
            try:
                self.attach_pod(endpoint)
            except BpfError as error:
                log.error("pod %s/%s: %s", endpoint.namespace, endpoint.pod, error)
        pins = {pin for endpoint in known for pin in _pod_pins(endpoint)}
        for pin in self.links.glob("pod-*"):
            if pin.name not in pins:
                pin.unlink(missing_ok=True)
        held = {write_address(address) for endpoint in known for address in endpoint.addresses}
        for key, _ in list(self.maps["endpoints"].items()):
            if key not in held:
                self.maps["endpoints"].delete(key)

    def _attach(self, name: str, hook: AttachType, target: int, pin: str) -> None:
        with self.turn:
            attach(self._programs[name], hook, target, self.links / pin).close()


def _load(
    names: Iterable[str],
    pins: Path,
    uplink: Uplink,
    sizes: Mapping[str, int] | None = None,
    flags: ConfigFlag = _NO_FLAGS,
    sections: Mapping[str, bytes] | None = None,
) -> dict[str, Object]:
    config = structs.Config(
        node_address=uplink.address_of(4) or NO_ADDRESS,
        node_address6=uplink.address_of(6) or NO_ADDRESS,
        uplink_ifindex=uplink.ifindex,
        flags=flags,
        entries_per_s=ENTRIES_PER_S,
        uplink_mac=parse_mac(uplink.mac),
        drop_events=DROP_EVENTS,
        connection_events=CONNECTION_EVENTS,
        event_interval_ns=EVENT_INTERVAL_NS,
    )
    objects: dict[str, Object] = {}
    with as_file(files("cairn") / "_bpf") as folder:
        for name in names:
            loaded = load_object(
                folder / f"{name}.o",
                sizes=sizes,
                config={".rodata.config": config.write(), **(sections or {})},
                pins=pins,
            )
            for change in loaded.changes:
                log.warning("map %s: %s", change.name, change.reason)
            objects[name] = loaded
    return objects


def program_at(pin: str) -> str:
    """Return the name of the program that a link's pin stands for."""
    if pin.startswith("pod-egress-"):
        return "pod_egress"
    return "pod_ingress" if pin.startswith("pod-") else pin


def _pod_pins(endpoint: PodEndpoint) -> tuple[str, str]:
    return f"pod-{endpoint.host_ifname}", f"pod-egress-{endpoint.host_ifname}"
