"""The DNS proxy's judgement: which queries pass, and what is learnt of the answers.

    (port, octets)  ->  Query | Refusal;  (Waiting.query, answer octets)  ->  Names

Invariants  Octets that pass are never changed, but for the id on the way to the server.
            An answer is let go only when what it says is learnt: the driver writes
            `names.changes()` to the data plane first.
Standards   RFC 1035 s4.1.1 (rcodes), RFC 2181 s9 (truncation)
Cost        a decision for a name asked before: one look into a dictionary
Not here    Sockets (cairn.dnsproxy), whom the answer belongs to (pending.py).
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from cairn.dns.answer import TRUNCATED, Answer, read_answer
from cairn.dns.learnt import Keeping, Names
from cairn.dns.number import Rcode
from cairn.dns.pattern import NameSet
from cairn.dns.query import Query, Refusal, read_query, refuse
from cairn.wire import Malformed

MOST_DECISIONS = 65536
"""Names whose verdict is remembered, of all listeners."""
WHY = "network policy does not allow this name"


class Proxy:
    """One node's judgement."""

    def __init__(
        self, names: Names, keeping: Keeping, *, refuse_with: Rcode = Rcode.NXDOMAIN
    ) -> None:
        self.names = names
        """What was learnt."""
        self.counts: Counter[str] = Counter()
        """What happened how often."""
        self._keeping = keeping
        self._refuse_with = refuse_with
        self._rules: dict[int, NameSet] = {}
        self._written: dict[int, tuple[tuple[str, str], ...]] = {}
        self._decisions: dict[tuple[int, bytes], bool] = {}

    def listen(self, listeners: Mapping[int, Iterable[tuple[str, str]]]) -> None:
        """Take the rules of each port: pairs (name, pattern)."""
        written = {port: tuple(pairs) for port, pairs in listeners.items()}
        self._rules = {
            port: self._rules[port] if self._written.get(port) == pairs else NameSet(pairs)
            for port, pairs in written.items()
        }
        self._written = written
        self._decisions.clear()

    def ask(self, port: int, octets: bytes) -> Query | Refusal:
        """Return the query if it may be passed on, else why not and what to send back."""
        self.counts["queries"] += 1
        query = read_query(octets)
        if isinstance(query, Refusal):
            self.counts[f"rejected: {query.reason}"] += 1
            return query
        allowed = self._decisions.get((port, query.folded))
        if allowed is None:
            rules = self._rules.get(port)
            if rules is None:
                self.counts["rejected: no such listener"] += 1
                return Refusal(refuse(query, Rcode.REFUSED, WHY), "no such listener")
            if len(self._decisions) >= MOST_DECISIONS:
                self._decisions.clear()
            allowed = self._decisions[port, query.folded] = rules.holds(query.name)
        if allowed:
            return query
        self.counts["refused"] += 1
        return Refusal(refuse(query, self._refuse_with, WHY), "refused", query.name)

    def learn(
        self, query: Query, question: bytes, octets: bytes, now: float, *, client: str = ""
    ) -> tuple[bytes, ...]:
        """Learn from an answer that belongs to the query; return the addresses in it.

        Raises Malformed if the answer cannot be read: then it must not be passed on.
        """
        self.counts["answers"] += 1
        answer = self._read(question, octets)
        if answer.strays:
            self.counts["strays"] += answer.strays
        if answer.addresses:
            until = self._keeping.until(answer.ttl_s, now)
            self.counts["learnt"] += self.names.learn(
                query.name, answer.addresses, until, owner=client
            )
        return answer.addresses

    def _read(self, question: bytes, octets: bytes) -> Answer:
        try:
            return read_answer(octets, question)
        except Malformed:
            if octets[2] & TRUNCATED:
                return Answer()  # cut within a record: the client asks again over TCP
            self.counts["malformed answers"] += 1
            raise

    def fail(self, query: Query) -> bytes:
        """Return the answer that tells of a server that cannot be asked."""
        return refuse(query, Rcode.SERVFAIL)
