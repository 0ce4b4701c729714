"""The verdicts of every subject in the data plane's maps.

    Wish by subject  ->  maps `policy_peers`, `policy_ports`, `policy_rules`

Invariants  A subject's entries are written where they differ from what the map holds, and never
            before the tables and counters that they name.
            A subject that does not fit is in `failed`. The node itself then has what it had
            before: half a policy might lock everybody out.
            What nothing leads to any more stays until `tidy`: a program that has found an
            identity, or a table, must find the verdict, too.
"""

from collections.abc import Callable, Collection, Mapping

from cairn.abi.structs import Identity, PolicyDirection, PolicyPeer
from cairn.apply.map_batch import remove_entries, write_entries
from cairn.apply.policy_ports import PortTables
from cairn.apply.policy_rules import RuleMap, Uses
from cairn.apply.policy_subject import (
    ISOLATED,
    Subject,
    Wish,
    key_of,
    peer_octets,
    read_key,
    table_of,
)
from cairn.libbpf import Map

PORTS, PEERS = "policy_ports", "policy_peers"
OWN_FROM = 256
"""The first identity that is not reserved: programs find those without a network, too."""
NAMES_FROM = 1 << 25
"""The first identity of a selector of DNS names: no network leads to these."""


class PeerMap:
    """What the maps hold of every subject."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self._map = maps[PEERS]
        self.proxies = Uses()
        """Ports of proxies that verdicts name."""
        self._rules = RuleMap(maps["policy_rules"])
        self._tables = PortTables(maps[PORTS], self._rules.uses, self.proxies)
        self.subjects: dict[int, Subject] = {}
        """By identity, those that an earlier agent left included."""
        self.failed: dict[int, str] = {}
        """Subjects that do not fit, and the map that is full."""
        self._late: dict[bytes, bytes] = {}
        for key, value in self._map.items():
            identity, place = read_key(key)
            self.subjects.setdefault(identity, Subject({})).entries[place] = value
            self._hold(value)

    @property
    def rules(self) -> Collection[int]:
        """The rules that verdicts name."""
        return self._rules.uses.numbers

    @property
    def untidy(self) -> bool:
        """Whether there is anything for `tidy`."""
        return bool(self._late or self._tables.idle)

    def write(
        self, wishes: Mapping[int, Wish], *, before_peers: Callable[[], None]
    ) -> tuple[bool, list[str]]:
        """Write what differs of these subjects; return whether anything did, and what failed."""
        writes: dict[bytes, bytes] = {}
        for identity, wish in wishes.items():
            entries = self.subjects.setdefault(identity, Subject({})).entries
            for place, table in wish.tables.items():
                value = peer_octets(self._tables.number(table), table)
                if entries.get(place) != value:
                    self._hold(value)
                    writes[key_of(identity, place)] = value
        wrong = self._rules.write()
        bad = self._tables.write()
        full = {key: PORTS for key, value in writes.items() if table_of(value) in bad}
        before_peers()
        failed = write_entries(self._map, {k: v for k, v in writes.items() if k not in full})
        self._settle(wishes, writes, full | dict.fromkeys(failed, PEERS))
        return bool(writes), [*wrong, *sorted({*bad.values(), *failed.values()})]

    def remove_unnamed(
        self, wishes: Mapping[int, Wish], leads_to: Callable[[int], bool]
    ) -> tuple[bool, str]:
        """Remove the peers of these subjects that no policy names any more.

        `leads_to` tells whether a network has an identity. Returns whether any were removed at
        once, and what went wrong.
        """
        for identity, wish in wishes.items():
            if identity == Identity.HOST and identity in self.failed:
                continue
            entries = self.subjects[identity].entries
            for place in entries.keys() - wish.tables.keys():
                self._late[key_of(identity, place)] = entries.pop(place)
        # Those that were left for later may lead somewhere again.
        now = [key for key in self._late if self._is_found(key, leads_to)]
        for key in now:
            self._release(self._late.pop(key))
        return bool(now), remove_entries(self._map, now)

    def _is_found(self, key: bytes, leads_to: Callable[[int], bool]) -> bool:
        """Return whether a program comes upon an entry when it judges a packet that is to come."""
        identity, place = read_key(key)
        subject, remote = self.subjects.get(identity), place >> 1
        if subject is None or subject.flags is None:
            return False
        isolated = subject.flags & ISOLATED[PolicyDirection(place & 1)]
        return bool(isolated) and (remote < OWN_FROM or remote >= NAMES_FROM or leads_to(remote))

    def forget(self, identity: int) -> None:
        """Let a subject go that no pod has any more."""
        subject = self.subjects.pop(identity, None)
        self.failed.pop(identity, None)
        if subject is not None:
            for place, value in subject.entries.items():
                self._late[key_of(identity, place)] = value

    def tidy(self) -> list[str]:
        """Remove what nothing leads to any more; return what went wrong."""
        late, self._late = self._late, {}
        wrong = remove_entries(self._map, late)
        for value in late.values():
            self._release(value)
        return [text for text in (wrong, self._tables.tidy(), self._rules.tidy()) if text]

    def _settle(
        self, wishes: Mapping[int, Wish], writes: Mapping[bytes, bytes], full: Mapping[bytes, str]
    ) -> None:
        """Take note of what was written and what was not."""
        broken = {read_key(key)[0]: name for key, name in full.items()}
        for identity, wish in wishes.items():
            if identity in broken:
                self.failed[identity] = broken[identity]
            else:
                self.failed.pop(identity, None)
            if identity not in broken or identity != Identity.HOST:
                self.subjects[identity].flags = wish.flags
        for key, value in writes.items():
            identity, place = read_key(key)
            if key in full:
                self._release(value)
                continue
            entries = self.subjects[identity].entries
            before = entries.get(place) or self._late.pop(key, None)
            if identity == Identity.HOST and identity in broken:
                self._undo(key, before)
                self._release(value)
                continue
            entries[place] = value
            if before is not None:
                self._release(before)

    def _undo(self, key: bytes, before: bytes | None) -> None:
        if before is None:
            self._map.delete(key)
        else:
            self._map.update(key, before)

    def _hold(self, value: bytes) -> None:
        self._tables.use(table_of(value))
        peer = PolicyPeer.read(value)
        self._rules.uses.add((peer.rule, peer.audit_rule))
        self.proxies.add((peer.proxy,))

    def _release(self, value: bytes) -> None:
        self._tables.drop(table_of(value))
        peer = PolicyPeer.read(value)
        self._rules.uses.drop((peer.rule, peer.audit_rule))
        self.proxies.drop((peer.proxy,))
