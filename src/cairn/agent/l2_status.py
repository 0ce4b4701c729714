"""What this node tells of its part in ARP and ND: its CiliumNode's status.l2.

    addresses answered for, conflicts  ->  {"answered": […], "conflicts": [{address, mac, since}]}

Invariants  Written when it changes, and again until the server has taken it.
"""

import asyncio
import logging
from typing import Any

from cairn.drive.kube_client import ApiError, Client
from cairn.drive.rfc3339 import now_text
from cairn.kube.metadata import Key
from cairn.kube.resource import CILIUM_NODES
from cairn.net import Address

START_S = 1.0
SETTLE_S = 0.05
RETRY_S = 1.0

log = logging.getLogger("l2")


class L2Status:
    """Keeps one node's status.l2."""

    def __init__(self, client: Client, node: str) -> None:
        self._client = client
        self._node = node
        self._answered: frozenset[Address] = frozenset()
        self._conflicts: dict[Address, tuple[bytes, str]] = {}
        self._changed = asyncio.Event()

    def answer(self, addresses: frozenset[Address]) -> None:
        """Take the addresses that are answered for."""
        self._answered = addresses
        self._conflicts = {a: found for a, found in self._conflicts.items() if a in addresses}
        self._changed.set()

    def conflict(self, address: Address, mac: bytes) -> None:
        """Take note that `mac`, which is none of ours, has the address too."""
        known = self._conflicts.get(address)
        if known is None or known[0] != mac:
            log.warning("%s is answered for by %s too, which is no node", address, mac.hex(":"))
            self._conflicts[address] = mac, now_text()
            self._changed.set()

    def settle(self, address: Address) -> None:
        """Take note that nobody else has the address."""
        if self._conflicts.pop(address, None) is not None:
            log.info("%s is answered for by nobody else any more", address)
            self._changed.set()

    async def run(self) -> None:
        """Write what changes until cancelled."""
        written: dict[str, Any] | None = {}
        said = ""
        await asyncio.sleep(START_S)
        self._changed.set()  # what an earlier agent wrote may be so no more
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_S)
            self._changed.clear()
            status = self._spell()
            if status == written:
                continue
            try:
                await self._client.patch(
                    CILIUM_NODES,
                    Key("", self._node),
                    {"status": {"l2": status}},
                    subresource="status",
                )
                written, said = status, ""
            except ApiError as error:
                written = None  # a patch whose answer was lost may have been taken
                if error.message != said and error.status != 404:
                    log.warning("L2 status not written: %s; trying again", error.message)
                    said = error.message
                await asyncio.sleep(RETRY_S)
                self._changed.set()

    def _spell(self) -> dict[str, Any]:
        answered = sorted(self._answered, key=_order)
        return {
            "answered": [str(address) for address in answered],
            "conflicts": [
                {"address": str(address), "mac": mac.hex(":"), "since": since}
                for address, (mac, since) in sorted(
                    self._conflicts.items(), key=lambda item: _order(item[0])
                )
            ],
        }


def _order(address: Address) -> tuple[int, int]:
    return address.version, int(address)
