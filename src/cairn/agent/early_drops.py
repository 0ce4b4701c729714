"""What the node drops before anything else looks at a packet, and where it does so.

    groups of networks, nodes' addresses, Services  ->  map `denied`, `revision`, the XDP program

Order       `denied` holds all that it should before programs are told to look into it.
Invariants  The programs are told of every change of the maps, after it.
            The XDP program goes only when nothing needs it any more.
Not here    What XDP does with a packet (bpf/lib/xdp_serve.h), which form it has
            (compile.xdp_form), how it is attached (apply.xdp).
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping

from cairn.abi.structs import RevisionFlag
from cairn.apply.map_content import apply_content
from cairn.apply.peers import prefix_of
from cairn.apply.revision import RevisionMap
from cairn.apply.xdp import XdpHook, device_of
from cairn.compile.deny_list import compile_deny_list
from cairn.compile.xdp_form import Device, Form, Wish, choose_form
from cairn.kube.cidr_group import CidrGroup
from cairn.kube.metadata import Key
from cairn.kube.service import Service
from cairn.libbpf import Map
from cairn.net import Address

_HELD = b"\1\0\0\0"


class EarlyDrops:
    """The deny list of one node, and its XDP program."""

    def __init__(
        self, maps: Mapping[str, Map], hook: XdpHook | None = None, wish: Wish = Wish.AUTO
    ) -> None:
        self._maps = maps
        self._revision = RevisionMap(maps)
        self._hook = hook
        self._wish = wish
        self._denies = False
        self._rated = False
        self._limited: set[Key] = set()
        self._device: Device | None = None
        self._form: Form | None = None
        self._failed: list[str] = []
        self.on_state: Callable[[str], None] = lambda _: None
        """Called with how the XDP program is, in words."""

    def advance(self) -> None:
        """Tell the programs that maps have changed."""
        self._revision.advance()

    def note(self, key: Key, service: Service | None) -> None:
        """Take note of whether a Service limits its clients."""
        if service is not None and (service.source_ranges or service.source_rate):
            self._limited.add(key)
        else:
            self._limited.discard(key)

    def apply_groups(self, groups: Iterable[CidrGroup], nodes: Collection[Address]) -> list[str]:
        """Write the deny list; return what failed, and what is not denied."""
        wanted = compile_deny_list(groups, nodes)
        content = {prefix_of(network).write(): _HELD for network in wanted.networks}
        failed = apply_content(self._maps["denied"], content)
        self._denies = bool(wanted.networks)
        self._revision.set(RevisionFlag.DENIED, on=self._denies)
        self._revision.advance()
        # This comes round from time to time: look at the device anew, and try again what failed.
        self._device = None
        self._form = None if self._failed else self._form
        return [*wanted.refused, *failed]

    def set_policy_rates(self, *, on: bool) -> None:
        """Have programs look at the limits of policies, or not."""
        self._rated = on
        self._revision.set(RevisionFlag.POLICY_RATES, on=on)
        self._revision.advance()

    async def apply_hook(self) -> list[str]:
        """Have the XDP program where it is needed; return what failed."""
        if self._hook is None:
            return []
        if self._device is None:
            self._device = await asyncio.to_thread(device_of, self._hook.uplink)
        drops = self._denies or self._rated or bool(self._limited)
        form = choose_form(self._device, self._wish, drops=drops)
        if form != self._form:
            self._failed = await asyncio.to_thread(self._hook.apply, form)
            self._form = form
            self.on_state(self._hook.state)
        return self._failed
