"""What people ask of the history, and the SQL that answers it.

    Question  ->  SQL over the view `flows`; what cannot be meant: BadQuestion

Pure.  The texts of a question become literals, quoted; names in SQL are from tables in this module.

Shapes      a peer: POD, NAMESPACE/POD, NAMESPACE/, an address, a network, a DNS name, or a label
            (app=web, reserved:world); a name stands for a pod, its workload, its Service or a node
"""

import re
from ipaddress import ip_network

import msgspec

from cairn.flow.columns import FlowVerdict
from cairn.net import parse_address

DEFAULT_LIMIT = 20
MAX_LIMIT = 200_000
ALIASES = {"ALLOWED": "FORWARDED", "DENIED": "DROPPED"}
VERDICTS = (*FlowVerdict.__members__, *ALIASES)
_WORD = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_LABEL = re.compile(r"[A-Za-z0-9][-A-Za-z0-9./_]*(:[-A-Za-z0-9./_*]+)?(=[-A-Za-z0-9._]*)?")


class BadQuestion(ValueError):
    """A question that cannot be meant; the text says why."""


class Question(msgspec.Struct, frozen=True):
    """One question; empty fields leave everything open."""

    since_us: int | None = None
    """From this time on, microseconds since 1970."""
    until_us: int | None = None
    """Before this time."""
    sources: tuple[str, ...] = ()
    """Peers, any of them."""
    destinations: tuple[str, ...] = ()
    """Likewise."""
    ports: tuple[int, ...] = ()
    """Of the destination."""
    protocols: tuple[str, ...] = ()
    """TCP, UDP, …"""
    verdicts: tuple[str, ...] = ()
    """FORWARDED, DROPPED, …"""
    policies: tuple[str, ...] = ()
    """Names, with or without a namespace before them."""
    top: str = ""
    """One of TOPS."""
    by: tuple[str, ...] = ()
    """Columns to count by."""
    sql: str = ""
    """A SELECT over the view `flows`, of the time asked for."""
    connections: bool = False
    """Connections as policies see them, each with how many flows it had."""
    limit: int = DEFAULT_LIMIT
    picture: bool = False
    """Whether to tell how many flows and drops there were over time."""


_TALKS = (
    "count(*) AS flows",
    "count(*) FILTER (verdict = 'DROPPED') AS dropped",
    "coalesce(sum(octets + octets_back), 0)::BIGINT AS octets",
)


def _who(side: str) -> str:
    """Return SQL for what people call an end."""
    return (
        f"CASE WHEN {side}_workload IS NOT NULL"
        f" THEN {side}_namespace || '/' || split_part({side}_workload, '/', 2)"
        f" WHEN {side}_pod IS NOT NULL THEN {side}_namespace || '/' || {side}_pod"
        f" WHEN {side}_names IS NOT NULL THEN split_part({side}_names, ',', 1)"
        f" ELSE coalesce({side}_node, {side}) END"
    )


_POLICY = "policy_kind AS kind, policy_namespace AS namespace, policy, policy_rule AS rule"
_AT = "coalesce(destination_port::VARCHAR || '/', '') || protocol AS place"
TOPS = {
    "talkers": (
        f"SELECT {_who('source')} AS source, {_who('destination')} AS destination,"
        f" {', '.join(_TALKS)} FROM asked WHERE reply IS NOT TRUE"
        " GROUP BY ALL ORDER BY octets DESC, flows DESC, source, destination"
    ),
    "drops": (
        f"SELECT reason, {_who('source')} AS source, {_who('destination')} AS destination, {_AT},"
        f" {_POLICY}, count(*) AS drops, max(time) AS last FROM asked"
        " WHERE verdict = 'DROPPED' GROUP BY ALL ORDER BY drops DESC, source, destination"
    ),
    "ports": (
        f"SELECT destination_port AS port, protocol, {', '.join(_TALKS)} FROM asked"
        " WHERE reply IS NOT TRUE AND destination_port IS NOT NULL"
        " GROUP BY ALL ORDER BY flows DESC, port"
    ),
    "pods": (
        "SELECT pod, sum(sent)::BIGINT AS opened, sum(took)::BIGINT AS taken,"
        " sum(drop)::BIGINT AS dropped, sum(amount)::BIGINT AS octets FROM ("
        " SELECT source_namespace || '/' || source_pod AS pod, 1 AS sent, 0 AS took,"
        " (verdict = 'DROPPED')::INT AS drop, octets + octets_back AS amount FROM asked"
        " WHERE source_pod IS NOT NULL AND reply IS NOT TRUE UNION ALL"
        " SELECT destination_namespace || '/' || destination_pod, 0, 1,"
        " (verdict = 'DROPPED')::INT, octets + octets_back FROM asked"
        " WHERE destination_pod IS NOT NULL AND reply IS NOT TRUE"
        ") GROUP BY pod ORDER BY sum(sent) + sum(took) DESC, pod"
    ),
    "policies": (
        f"SELECT {_POLICY}, count(*) FILTER (verdict <> 'DROPPED' AND verdict <> 'AUDIT')"
        " AS allowed, count(*) FILTER (verdict = 'DROPPED') AS dropped,"
        " count(*) FILTER (verdict = 'AUDIT') AS audited FROM asked WHERE policy IS NOT NULL"
        " GROUP BY ALL ORDER BY dropped DESC, allowed DESC, namespace, policy, rule"
    ),
    "names": (
        "SELECT dns_query AS name, count(*) AS lookups,"
        " count(*) FILTER (dns_rcode <> 'NOERROR') AS failed,"
        " count(*) FILTER (verdict = 'DROPPED') AS refused,"
        " round(avg(dns_latency_ms), 2) AS latency_ms FROM asked WHERE dns_query IS NOT NULL"
        " GROUP BY ALL ORDER BY lookups DESC, name"
    ),
}
"""What is counted, by the word that people use."""

_LIST = (
    f"SELECT time, {_who('source')} AS source, source_port, {_who('destination')} AS destination,"
    " destination_port, protocol, kind, verdict, reason, direction,"
    " CASE WHEN policy IS NULL THEN NULL ELSE coalesce(policy_namespace || '/', '') || policy ||"
    " coalesce(' ' || policy_rule, '') END AS policy,"
    " CASE WHEN http_method IS NOT NULL"
    " THEN http_method || ' ' || http_url || coalesce(' ' || http_status, '')"
    " WHEN dns_query IS NOT NULL THEN dns_query || coalesce(' ' || dns_rcode, '')"
    " WHEN tls_name IS NOT NULL THEN tls_name"
    " WHEN kind = 'LOST' THEN packets || ' events were lost' END AS seen, node"
    " FROM asked ORDER BY time DESC"
)
CONNECTION_COLUMNS = (
    "verdict",
    "source",
    "source_namespace",
    "source_pod",
    "source_workload",
    "source_labels",
    "source_identity",
    "destination",
    "destination_namespace",
    "destination_pod",
    "destination_workload",
    "destination_labels",
    "destination_identity",
    "destination_names",
    "protocol",
    "destination_port",
    "icmp_type",
    "icmp_code",
    "http_method",
    "http_url",
    "dns_query",
)
_CONNECTIONS = (
    f"SELECT {', '.join(CONNECTION_COLUMNS)}, count(*) AS times, max(time) AS time FROM asked"
    " WHERE reply IS NOT TRUE AND kind IN ('DROP', 'NEW', 'REDIRECTED', 'AUDITED', 'HTTP', 'DNS')"
    " GROUP BY ALL ORDER BY times DESC"
)


def asked(question: Question, columns: tuple[str, ...]) -> str:
    """Return SQL for the flows of `history` that a question is about; raises BadQuestion.

    Which addresses lie in a network stands in the tables `source_in` and `destination_in`.
    """
    check(question, columns)
    parts: list[str] = []
    if question.since_us is not None:
        parts.append(f"time >= make_timestamp({question.since_us:d}::BIGINT)")
    if question.until_us is not None:
        parts.append(f"time < make_timestamp({question.until_us:d}::BIGINT)")
    choices = (
        [f"destination_port = {port:d}" for port in question.ports],
        [f"protocol = {quoted(protocol_word(word))}" for word in question.protocols],
        [
            f"verdict = {quoted(ALIASES.get(word.upper(), word.upper()))}"
            for word in question.verdicts
        ],
        [_peer("source", text) for text in question.sources],
        [_peer("destination", text) for text in question.destinations],
        [_policy(text) for text in question.policies],
    )
    parts += [f"({' OR '.join(some)})" for some in choices if some]
    return "SELECT * FROM history" + (f" WHERE {' AND '.join(parts)}" if parts else "")


def quoted(text: str) -> str:
    """Return text as a literal."""
    return "'" + text.replace("'", "''") + "'"


def _policy(text: str) -> str:
    namespace, slash, name = text.rpartition("/")
    also = f" AND policy_namespace = {quoted(namespace)}" if slash else ""
    return f"(policy = {quoted(name)}{also})"


def check(question: Question, columns: tuple[str, ...]) -> None:
    """Raise BadQuestion for what contradicts itself or is not known."""
    check_words(question)
    for name in question.by:
        if name not in columns:
            raise BadQuestion(f"flows have no column {name!r}: use any of {', '.join(columns)}")


def check_words(question: Question) -> None:
    """Raise BadQuestion for what contradicts itself, whatever columns there are."""
    ways = [bool(question.top), bool(question.by), bool(question.sql), question.connections]
    if sum(ways) > 1:
        raise BadQuestion("--top, --by and --sql are three questions: ask one at a time")
    if question.top and question.top not in TOPS:
        raise BadQuestion(f"nothing is counted by {question.top!r}: use one of {', '.join(TOPS)}")
    since, until = question.since_us, question.until_us
    if since is not None and until is not None and since >= until:
        raise BadQuestion("--since is not before --until: no time is in between")
    if not 0 < question.limit <= MAX_LIMIT:
        raise BadQuestion(f"--limit {question.limit} is not 1 to {MAX_LIMIT}")
    for port in question.ports:
        if not 0 < port < 65536:
            raise BadQuestion(f"port {port} is not 1 to 65535")
    for word in question.protocols:
        protocol_word(word)
    for side in ("source", "destination"):
        for text in question.sources if side == "source" else question.destinations:
            _peer(side, text)
    for word in question.verdicts:
        if word.upper() not in VERDICTS:
            raise BadQuestion(f"{word!r} is no verdict: use one of {', '.join(VERDICTS)}")


def statement(question: Question) -> str:
    """Return what is selected from the flows in question."""
    if question.sql:
        return question.sql
    if question.top:
        return TOPS[question.top]
    if question.connections:
        return _CONNECTIONS
    if question.by:
        names = ", ".join(f'"{name}"' for name in question.by)
        return (
            f"SELECT {names}, {', '.join(_TALKS)} FROM asked"
            f" GROUP BY {names} ORDER BY flows DESC, {names}"
        )
    return _LIST


def protocol_word(text: str) -> str:
    """Return a protocol as the view spells it; raises BadQuestion."""
    words = {w.lower(): w for w in ("TCP", "UDP", "SCTP", "ICMPv4", "ICMPv6")} | {"icmp": "ICMPv4"}
    if text.isdigit() and int(text) < 256:
        return text
    if text.lower() not in words:
        raise BadQuestion(f"{text!r} is no protocol: use tcp, udp, sctp, icmpv4 or icmpv6")
    return words[text.lower()]


def network_of(text: str) -> str | None:
    """Return the network that a peer spells, if it does; raises BadQuestion."""
    if "/" not in text or not re.fullmatch(r"[0-9a-fA-F.:]+/\d{1,3}", text):
        return None
    try:
        return str(ip_network(text, strict=False))
    except ValueError as error:
        raise BadQuestion(f"{text!r} is no network: {error}") from None


def networks(question: Question) -> dict[str, tuple[str, ...]]:
    """Return the networks in question, by side."""
    sides = {"source": question.sources, "destination": question.destinations}
    return {side: tuple(n for t in texts if (n := network_of(t))) for side, texts in sides.items()}


def _peer(side: str, text: str) -> str:
    """Return the condition that an end is this peer."""
    if network := network_of(text):
        return f"{side} IN (SELECT text FROM {side}_in WHERE network = {quoted(network)})"
    try:
        return f"{side} = {quoted(str(parse_address(text)))}"
    except ValueError:
        pass
    if "=" in text or ":" in text:
        return _label(side, text)
    namespace, slash, name = text.rpartition("/")
    if not (namespace or name) or any(
        part and not _WORD.fullmatch(part) for part in (namespace, name)
    ):
        raise BadQuestion(
            f"{text!r} is no peer: write POD, NAMESPACE/POD, NAMESPACE/, an address, a network,"
            " a name or a label (app=web)"
        )
    there = [f"{side}_namespace = {quoted(namespace)}"] if slash else []
    if not name:
        return there[0]
    named = [
        f"starts_with({side}_pod, {quoted(name)})",
        f"ends_with({side}_workload, {quoted('/' + name)})",
        f"{side}_service = {quoted(name)}",
    ]
    if not slash:
        named.append(f"{side}_node = {quoted(name)}")
        named.append(f"list_contains(string_split({side}_names, ','), {quoted(name)})")
    return " AND ".join([f"({' OR '.join(named)})", *there])


def _label(side: str, text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise BadQuestion(f"{text!r} is no label: write app=web, k8s:app=web or reserved:world")
    spelt = text if ":" in text.partition("=")[0] else f"k8s:{text}"
    return f"list_contains(string_split({side}_labels, ','), {quoted(spelt)})"
