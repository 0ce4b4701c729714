"""Who listens to flows and is slow is told what it missed, and nobody waits for it."""

import numpy as np

from cairn.agent.flow_feed import MOST_WAITING, FlowFeed
from cairn.dns.lookup import Lookup, Lost, Outcome, read_lookup
from cairn.dnsproxy.lookup_feed import LookupFeed
from cairn.flow.columns import FLOW, Batch, Dictionaries, End


async def test_a_slow_subscriber_loses_the_oldest_but_no_names() -> None:
    feed = FlowFeed(100)
    subscription = feed.subscribe()
    size = MOST_WAITING // 4
    for number in range(1, 9):
        added = Dictionaries(ends={number: End(pod=f"pod-{number}")})
        feed.put(Batch(np.zeros(size, FLOW), added))
    first = await subscription.get()
    assert first.missed == 4 * size
    assert set(first.batch.added.ends) == {1, 2, 3, 4, 5}
    rest = [await subscription.get() for _ in range(3)]
    assert [(delivery.missed, len(delivery.batch.records)) for delivery in rest] == [(0, size)] * 3
    subscription.close()
    feed.put(Batch(np.zeros(1, FLOW), Dictionaries()))
    assert feed.store.seen == 8 * size + 1


async def test_a_subscription_begins_with_all_names_and_the_last_flows() -> None:
    feed = FlowFeed(100)
    feed.put(Batch(np.zeros(50, FLOW), Dictionaries(ends={1: End(pod="a")})))
    delivery = await feed.subscribe(last=10).get()
    assert len(delivery.batch.records) == 10
    assert delivery.batch.added.ends == {1: End(pod="a")}


class Client:
    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.has_room = True
        self.is_open = True

    def offer(self, line: bytes) -> bool:
        if self.has_room:
            self.lines += line.splitlines()
        return self.has_room


def test_a_watcher_of_lookups_is_told_how_many_it_missed() -> None:
    feed, client = LookupFeed(), Client()

    def tell(port: int) -> None:
        feed.tell(Outcome.REFUSED, ("10.0.0.1", port), ("10.0.0.2", 53), b"message")
        feed.flush()

    tell(1)
    feed.watch(client)
    tell(2)
    client.has_room = False
    tell(3)
    tell(4)
    client.has_room = True
    tell(5)
    told = [read_lookup(line) for line in client.lines]
    ports = [one.client_port for one in told if isinstance(one, Lookup)]
    assert (ports, [one.lost for one in told if isinstance(one, Lost)]) == ([2, 5], [2])
    assert feed.lost == 2
    client.is_open = False
    tell(6)
    assert not feed.watched
