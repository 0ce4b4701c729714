"""The relay, and the history that it keeps.

Facts  ->  findings of area 9
"""

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.facts import Facts


def check_history(facts: Facts, bench: Bench) -> None:
    """The relay answers, and writes all flows to a history that can be read."""
    relay, subject = facts.relay, "relay hubble-relay"
    if relay.skipped:
        bench.skipped = relay.skipped
        return
    bench.looked()
    values = {"pod": relay.pod or "deploy/hubble-relay"}
    if relay.error:
        bench.found("RelayDown", subject, reason=relay.error)
        return
    bench.looked(3 * relay.kept)
    if relay.stopped:
        bench.found("HistoryStopped", subject, reason=relay.stopped, **values)
    if relay.missed:
        bench.found("HistoryBehind", subject, count=relay.missed)
    if relay.corrupt:
        first, count = relay.corrupt[0], len(relay.corrupt)
        bench.found("HistoryDamaged", subject, *relay.corrupt[:5], count=count, reason=first)
