"""Certificates: those that end soon, ended, are not valid yet, or are for another name.

Facts  ->  findings of area 8
"""

from cairn.diagnose.doctor.bench import Bench
from cairn.diagnose.facts import Facts
from cairn.diagnose.process_facts import CertificateFact

DAY_S = 86_400.0
WEEK_S, MONTH_S = 7 * DAY_S, 30 * DAY_S
NAMES_TOLD = 6


def check_certificates(facts: Facts, bench: Bench) -> None:
    """Certificates are valid for a while, and for the names by which they are asked."""
    now_at = facts.cluster.now_at or facts.now_at
    found: dict[tuple[str, float], CertificateFact] = {
        (one.name, one.ends_at): one for one in facts.certificates
    }
    for node, report in facts.nodes.items():
        for one in report.certificates:
            bench.looked()
            # Nodes share one authority: it is told of once, by the first that has it.
            if (one.name, one.ends_at) not in found:
                found[one.name, one.ends_at] = one
                _judge(one, now_at, bench, f" on {node}")
    for one in facts.certificates:
        bench.looked()
        _judge(one, now_at, bench, "")


def _judge(one: CertificateFact, now_at: float, bench: Bench, where: str) -> None:
    name = f"{one.name}{where}"
    if one.error:
        bench.found("CertificateUnreadable", name, certificate=name, reason=one.error)
        return
    if one.wanted and one.wanted not in one.names:
        names = ", ".join(one.names[:NAMES_TOLD]) or "no name"
        values = {"certificate": name, "wanted": one.wanted, "names": names}
        bench.found("CertificateName", name, **values)
    left_s = one.ends_at - now_at
    if one.begins_at > now_at:
        left = spell_time(one.begins_at - now_at)
        bench.found("CertificateEarly", name, certificate=name, left=left)
    elif left_s <= 0:
        bench.found("CertificateEnded", name, certificate=name, ago=spell_time(-left_s))
    elif left_s < MONTH_S:
        kind = "CertificateEnding" if left_s < WEEK_S else "CertificateEndsSoon"
        bench.found(kind, name, certificate=name, left=spell_time(left_s))


def spell_time(seconds: float) -> str:
    """Return a time in the unit that people would choose."""
    for unit, length in (("days", DAY_S), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
