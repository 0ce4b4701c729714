"""A table of verdicts as the data plane's maps hold it.

    Table, numbers of rules and proxies' ports  ->  EncodedTable

Shapes      ports: the last four octets of a key of `policy_ports` -> its value
Invariants  Equal tables have equal octets; a range becomes the fewest prefixes that are just it.
Not here    Numbers of tables and what the maps hold (apply.policy_ports).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b

from cairn.abi.structs import PolicyAction, PolicyVerdict, PortKey
from cairn.desired.policy import Redirect, Table, Verdict
from cairn.kube.policy.rule import RuleRef

PORT_BITS = 16
_TABLE_OCTETS = 4
_NO_PORTS: Mapping[bytes, bytes] = {}
_NOBODY: frozenset[Redirect] = frozenset()

PortOf = Callable[[Redirect, RuleRef | None], int]


@dataclass(frozen=True, slots=True)
class Numbers:
    """By which numbers the maps name rules and proxies."""

    rule: Callable[[RuleRef], int]
    """The number of a rule."""
    port: PortOf
    """The port at which a proxy listens for a redirect of a rule."""


@dataclass(frozen=True, slots=True)
class EncodedTable:
    """One table as octets."""

    rest: bytes
    """The verdict for what the table does not name, as in `policy_ports`."""
    ports: Mapping[bytes, bytes]
    """Verdicts by protocol and port, without the table's number."""
    lengths: int
    """As in `policy_peers`."""
    digest: bytes
    """Of `ports`; empty without any."""
    redirects: frozenset[Redirect]
    """What proxies must serve before the table may be written."""


def encode_table(table: Table, numbers: Numbers) -> EncodedTable:
    """Return the octets of `table`."""
    octets: dict[int, bytes] = {}
    redirects: set[Redirect] = set()

    def encode(verdict: Verdict) -> bytes:
        known = octets.get(id(verdict))
        if known is None:
            known = octets[id(verdict)] = encode_verdict(verdict, numbers)
            if verdict.redirect is not None:
                redirects.add(verdict.redirect)
        return known

    rest = encode(table.rest)
    ports: dict[bytes, bytes] = {}
    lengths = 0
    for found in table.ranges:
        value = encode(found.verdict)
        for port, bits in prefixes(found.first, found.last):
            ports[PortKey(0, port, found.protocol, bits).write()[_TABLE_OCTETS:]] = value
            lengths |= 1 << bits
    return EncodedTable(
        rest,
        ports or _NO_PORTS,
        lengths,
        digest(ports),
        frozenset(redirects) if redirects else _NOBODY,
    )


def encode_verdict(verdict: Verdict, numbers: Numbers) -> bytes:
    """Return the octets of `verdict`."""
    audit_action, audit_rule = PolicyAction.ALLOW, 0
    if verdict.audit is not None:
        audit_action, ref = verdict.audit
        audit_rule = numbers.rule(ref)
    return PolicyVerdict(
        rule=numbers.rule(verdict.rule) if verdict.rule is not None else 0,
        audit_rule=audit_rule,
        proxy=numbers.port(verdict.redirect, verdict.rule) if verdict.redirect is not None else 0,
        action=verdict.action,
        audit_action=audit_action,
    ).write()


def prefixes(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the fewest (port, bits) that hold the ports from `first` to `last` and no other."""
    while first <= last:
        size = first & -first or 1 << PORT_BITS
        while size > last - first + 1:
            size >>= 1
        yield first, PORT_BITS + 1 - size.bit_length()
        first += size


def digest(ports: Mapping[bytes, bytes]) -> bytes:
    """Return what stands for the content of a table."""
    if not ports:
        return b""
    return blake2b(b"".join(k + ports[k] for k in sorted(ports)), digest_size=16).digest()
