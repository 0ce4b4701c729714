"""What was learnt, in the three places that keep it: memory, the data plane, the journal.

    Names  ->  commit()  ->  policy_names, journal

Invariants  What `commit` did not name as unwritten is in the data plane when it returns.
            An agent may pin another map in place of the one we know: within REOPEN_S that holds
            all, too.
Units       times in seconds of CLOCK_MONOTONIC
"""

import logging
from collections import Counter
from pathlib import Path

from cairn.dns.learnt import Keeping, Names
from cairn.dnsproxy.expiry import Expiry
from cairn.dnsproxy.journal import Journal
from cairn.dnsproxy.name_map import NameMap
from cairn.dnsproxy.sampled_log import SampledLog
from cairn.libbpf import BpfError

LOG = logging.getLogger("dns")

REOPEN_S = 1.0


class Store:
    """Keeps names; writes them where they count."""

    def __init__(
        self, names: Names, counts: Counter[str], keeping: Keeping, *, pins: Path, journal: Path
    ) -> None:
        self.names = names
        """What was learnt."""
        self.unwritten: set[bytes] = set()
        """Addresses that should be in the data plane and are not."""
        self._failed: set[bytes] = set()
        self._counts = counts
        self._keeping = keeping
        self._map = NameMap(pins)
        self._journal = Journal(journal)
        self._log = SampledLog()
        self._now = 0.0
        self._next_open = 0.0
        self._expiry = Expiry(names, counts, pins, self.commit)

    def load(self, now: float) -> int:
        """Take up what was learnt before; return how many pairs of name and address."""
        try:
            leases = self._journal.load()
        except OSError as error:
            LOG.error("names learnt before are not usable: %s", error)
            leases = []
        for lease in leases:
            # What passed meanwhile is judged by `tick`, which looks at the connections first.
            self.names.learn(lease.name, lease.addresses, lease.until)
        self.names.news()
        self._journal.rewrite(self.names.leases())
        self._open(now)
        return len(self.names)

    def commit(self) -> None:
        """Have the data plane know what was learnt."""
        news = self.names.news()
        if news:
            self._journal.append(news)
        changes = self.names.changes()
        if not changes:
            return
        failed = self._map.write(changes)
        if self._failed:
            self._failed.difference_update(changes)
            self.unwritten.difference_update(changes)
        for address, reason in failed.items():
            self._failed.add(address)
            if changes[address]:
                self.unwritten.add(address)
            self._counts["write failures"] += 1
            self._log.warn(
                reason, "a name's address is not in the data plane: %s", reason, now=self._now
            )

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._now = now
        if now >= self._next_open:
            self._next_open = now + REOPEN_S
            self._open(now)
            if self._failed:
                self.names.unsaid(self._failed)
                self.commit()
            if self._journal.is_stale(len(self.names)):
                self._journal.rewrite(self.names.leases())
        self._expiry.tick(now)

    def close(self) -> None:
        """Give everything back."""
        self._journal.close()
        self._map.close()

    def _open(self, now: float) -> None:
        """Follow the map that is pinned now: an agent may have put a larger one in its place."""
        if not self._map.reopen():
            return
        try:
            held = self._map.read()
        except BpfError as error:
            LOG.error("cannot read which names' addresses the data plane knows: %s", error)
            held = {}
        unknown = self.names.adopt(held, self._keeping.until(0.0, now))
        if unknown:
            LOG.warning("%d addresses in the data plane are of names not known any more", unknown)
        self.commit()
