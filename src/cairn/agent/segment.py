"""The segment that the uplink is on: who has which address, and telling it what we have.

    addresses  ->  probes, announcements on the uplink
    frames heard  ->  claims, to whoever asked for them

Invariants  Never raises for the segment's sake: a link that is down loses frames, as it would
            anyway, and it is said once.
            Our own answers are not heard: the data plane gives them to what comes in, and what
            we send does not come in. So whoever answers a probe is someone else.
Standards   RFC 5227 s2.3 (an announcement is sent twice), RFC 4861 s7.2.6
Not here    The frames (cairn.ethernet), what a claim means (agent.l2).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address

from cairn.apply.uplink import Uplink
from cairn.ethernet import arp, nd
from cairn.ethernet.claim import Claim, claim_of
from cairn.ethernet.probing import Probing
from cairn.net import Address, parse_mac
from cairn.netlink.packet_socket import FrameSocket, Groups

ANNOUNCEMENTS = 2
ANNOUNCE_PAUSE_S = 0.1
"""Between two announcements of one address; RFC 5227 has 2 s, which the first alone must not wait
for: clients need it at once, and the second is there in case it was lost."""
BURST = 64

log = logging.getLogger("l2")


class Segment:
    """Hears and speaks on the uplink, of one node."""

    def __init__(self, uplink: Uplink, on_claim: Callable[[Claim], None]) -> None:
        """Open the sockets in the calling thread's namespace; raises OSError."""
        self._uplink = uplink
        self._mac = parse_mac(uplink.mac)
        self._on_claim = on_claim
        self._socket = FrameSocket(uplink.name)
        self._groups = Groups(uplink.name, uplink.ifindex)
        self._probings: dict[Probing, asyncio.Event] = {}
        self._said = ""

    async def run(self) -> None:
        """Hear what is claimed, until cancelled."""
        loop = asyncio.get_running_loop()
        descriptors = self._socket.descriptors
        for descriptor in descriptors:
            loop.add_reader(descriptor, self._hear)
        try:
            await asyncio.Event().wait()
        finally:
            for descriptor in descriptors:
                loop.remove_reader(descriptor)
            self._socket.close()
            self._groups.close()

    async def announce(self, addresses: Iterable[Address]) -> None:
        """Tell the segment that these addresses are ours now."""
        frames = [self._announcement(address) for address in addresses]
        for round_ in range(ANNOUNCEMENTS):
            if round_:
                await asyncio.sleep(ANNOUNCE_PAUSE_S)
            for place, frame in enumerate(frames):
                if place and place % BURST == 0:
                    await asyncio.sleep(0)
                if frame is not None:
                    self._send(frame)

    async def probe(self, addresses: Iterable[Address]) -> Mapping[Address, bytes]:
        """Return who answered for which of the addresses, after at most a quarter of a second."""
        loop = asyncio.get_running_loop()
        probing = Probing(addresses, self._mac, loop.time())
        heard = self._probings[probing] = asyncio.Event()
        try:
            while not probing.done(loop.time()):
                probing.expire(loop.time())
                for frame in probing.output():
                    self._send(frame)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(probing.deadline):
                        await heard.wait()
                heard.clear()
        finally:
            del self._probings[probing]
        return probing.found

    def listen_for(self, addresses: Iterable[Address]) -> None:
        """Join the groups in which neighbours ask for these addresses, and leave all others.

        An interface takes no frames of groups that nobody has joined.
        """
        groups = frozenset(
            nd.solicited_node(address).packed
            for address in addresses
            if isinstance(address, IPv6Address)
        )
        for failure in self._groups.join_exactly(groups):
            self._say(f"{failure}; IPv6 clients may not find their address")

    def _hear(self) -> None:
        try:
            for frame in self._socket.receive():
                claim = claim_of(frame)
                if claim is None or claim.mac == self._mac:
                    continue
                for probing, heard in self._probings.items():
                    probing.receive(claim)
                    heard.set()
                self._on_claim(claim)
        except OSError as error:
            self._say(f"cannot hear on {self._uplink.name}: {error.strerror}")

    def _announcement(self, address: Address) -> bytes | None:
        if isinstance(address, IPv4Address):
            return arp.announcement(address, self._mac)
        source = self._uplink.address_of(6)
        if not isinstance(source, IPv6Address):
            return None  # without an address of our own in its subnet we would not answer for it
        return nd.announcement(address, self._mac, source)

    def _send(self, frame: bytes) -> None:
        try:
            self._socket.send(frame)
            self._said = ""
        except OSError as error:
            self._say(f"cannot send on {self._uplink.name}: {error.strerror}")

    def _say(self, text: str) -> None:
        if text != self._said:
            log.warning("%s", text)
            self._said = text
