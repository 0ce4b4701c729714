"""Flows of the relay's history, in the form that policies are judged by.

since when  ->  the relay  ->  flow.record.Flow, with how often each was seen
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cairn.cli.manifests import BadManifest
from cairn.cli.policy_options import complain
from cairn.cli.relay_reach import reach
from cairn.flow.record import ICMP, ICMPV6, Flow, FlowEnd
from cairn.net import Protocol, parse_address
from cairn.relay.history.question import MAX_LIMIT, Question
from cairn.relay.history_client import NoHistory

_NUMBERS = {p.name: int(p) for p in Protocol} | {"ICMPv4": ICMP, "ICMPv6": ICMPV6}


class KeptFlows:
    """What the history has of some time, connections that are alike as one."""

    def __init__(self, options: argparse.Namespace, since: timedelta | None) -> None:
        self._options = options
        self._since = since
        self.bad: list[str] = []
        """What could not be read."""

    def __iter__(self) -> Iterator[Flow]:
        since = self._since
        start = None if since is None else int((time.time() - since.total_seconds()) * 1e6)
        question = Question(since_us=start, connections=True, limit=MAX_LIMIT)
        try:
            answer = reach(self._options, question)
        except NoHistory as error:
            raise BadManifest(f"no flows of the history: {error}; give a file by --flows") from None
        if answer.cut:
            self.bad.append(f"the history has more than {MAX_LIMIT} kinds of flows: ask for less")
        for note in answer.notes:
            complain("policy", note)
        for row in answer.rows:
            named = dict(zip(answer.columns, row, strict=True))
            if named["protocol"] in _NUMBERS and named["source"] and named["destination"]:
                yield flow_of(named)

    def tell(self, command: str) -> None:
        """Say on standard error what is missing."""
        for text in self.bad:
            complain(command, text)


def flow_of(row: Mapping[str, Any]) -> Flow:
    """Return the flow that a row of the history's connections is."""
    protocol = _NUMBERS[row["protocol"]]
    port = row["destination_port"] or 0
    if protocol in (ICMP, ICMPV6):
        port = (row["icmp_type"] or 0) << 8 | (row["icmp_code"] or 0)
    names = str(row["destination_names"] or "")
    return Flow(
        time=_time(row["time"]),
        verdict=str(row["verdict"]),
        source=_end(row, "source"),
        destination=_end(row, "destination"),
        source_address=parse_address(row["source"]),
        destination_address=parse_address(row["destination"]),
        protocol=protocol,
        port=port,
        names=tuple(name.rstrip(".").lower() for name in names.split(",") if name),
        http=(row["http_method"], row["http_url"]) if row["http_method"] else None,
        dns_query=str(row["dns_query"] or "").rstrip(".").lower(),
        times=int(row["times"]),
    )


def _end(row: Mapping[str, Any], side: str) -> FlowEnd:
    pairs = [text.partition("=") for text in str(row[f"{side}_labels"] or "").split(",") if text]
    return FlowEnd(
        namespace=row[f"{side}_namespace"] or "" if row[f"{side}_pod"] else "",
        pod=row[f"{side}_pod"] or "",
        labels={key.removeprefix("k8s:"): value for key, _, value in pairs},
        identity=row[f"{side}_identity"] or 0,
        workload=row[f"{side}_workload"] or "",
    )


def _time(value: Any) -> datetime:
    found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return found if found.tzinfo else found.replace(tzinfo=UTC)
