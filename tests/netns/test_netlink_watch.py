"""Changes of one interface are heard of, and those of others are not."""

import asyncio
import secrets
import threading
from collections.abc import Iterator

import pytest
from datapath_bed import batch, wait_for

from cairn.linux import namespace
from cairn.netlink.link_watch import watch_interface

pytestmark = pytest.mark.root


class Watch:
    """Counts the calls of a watch that runs inside a namespace."""

    def __init__(self, ns: str) -> None:
        self.ns = ns
        self.calls = 0
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=namespace.call_in, args=(ns, self._run))

    def _run(self) -> None:
        self._task = self._loop.create_task(watch_interface("up0", self._count))
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            self._loop.close()

    def _count(self) -> None:
        self.calls += 1

    def __enter__(self) -> "Watch":
        self._thread.start()
        wait_for(lambda: self.calls == 1, "the first look")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._task is not None
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def hears(self, *commands: str) -> None:
        """Run `ip` commands and wait for a call."""
        before = self.calls
        batch(self.ns, *commands)
        wait_for(lambda: self.calls > before, f"a call after {commands}")


@pytest.fixture
def ns() -> Iterator[str]:
    with namespace.temporary(f"ct{secrets.token_hex(4)}") as name:
        batch(name, "link add up0 type veth peer name down0", "link add other0 type bridge")
        yield name


def test_mtu_state_and_addresses_are_heard_of(ns: str) -> None:
    with Watch(ns) as watch:
        watch.hears("link set up0 mtu 1400")
        watch.hears("link set up0 up")
        watch.hears("addr add 192.0.2.1/24 dev up0")
        watch.hears("addr del 192.0.2.1/24 dev up0")


def test_an_interface_that_vanishes_and_comes_back_is_heard_of(ns: str) -> None:
    with Watch(ns) as watch:
        watch.hears("link del up0")
        watch.hears("link add up0 index 77 type veth peer name down1")
        watch.hears("link set up0 mtu 1300")


def test_other_interfaces_are_not(ns: str) -> None:
    with Watch(ns) as watch:
        batch(ns, *(f"link set other0 mtu {mtu}" for mtu in range(1000, 1400)))
        # What is heard of next is heard of in order: of the 400 nothing was counted.
        watch.hears("link set up0 mtu 1400")
        assert watch.calls <= 3
