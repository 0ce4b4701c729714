"""Which findings follow from others, so that causes stand before what they bring about.

    findings  ->  the same, causes first; and what each follows from

Invariants  A cause weighs as much as the heaviest of what follows from it.
            Nothing is left out: a symptom that has two causes is seen until both are mended.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from cairn.diagnose.finding import Finding, Weight

SESSIONS = ("HoldTimer", "PeerRefuses", "PeerUnreachable", "PeerClosed", "SessionDown")
WRITTEN = ("WrongAsn", "WrongPassword", "PasswordMissing", "HoldTimeRefused", "PrefixLimit",
           "TtlSecurity", "SelectsNoNode", "BgpConflict")  # fmt: skip
"""What was written at one end, and keeps sessions from being established."""
UNANNOUNCED = ("NobodyAnnounces", "RouteFiltered", "RouteMissing", "RouteStale", "NotInstalled")
CUT_OFF = ("PeerSilent", "NodeUnasked", "NodeNotReady", "ApiPartition", "ClusterDnsSilent",
           "BackendDead", "AnsweredTwice", "AnswererGone", "PolicyBehind", "VipDrift",
           *SESSIONS, *UNANNOUNCED)  # fmt: skip
"""What a node that the others do not reach looks like."""
UNWRITTEN = ("VipDrift", "EndpointDrift", "ServiceDrift", "PolicyBehind", "PodClosed")
"""What a data plane looks like that nobody writes."""
NO_ADDRESS = ("AddressPending", "PoolExhausted", "NoPoolSelects")


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of finding that brings others about."""

    cause: str
    """Its name."""
    brings: tuple[str, ...]
    """Names of what follows from it."""
    anywhere: bool = False
    """Whether it does so everywhere; otherwise to the nodes that it names."""
    subject: str = ""
    """Only if it is about this."""


FOLLOWS: tuple[Row, ...] = (
    Row("UplinkGone", ("UplinkDown", "NeighbourFailed", *CUT_OFF)),
    Row("UplinkDown", ("NeighbourFailed", "MtuBlackHole", *CUT_OFF)),
    Row("DuplicateAddress", ("NeighbourFailed", "MtuBlackHole", *CUT_OFF)),
    Row("NeighbourFailed", CUT_OFF),
    Row("MtuUneven", ("MtuBlackHole",)),
    Row("MtuBlackHole", ("NodeUnasked", "NodeNotReady", "ApiPartition", "BackendDead")),
    Row("ForwardingOff", ("ClusterDnsSilent", "BackendDead")),
    Row("DiskFull", ("HistoryStopped", "HistoryBehind", "NotReconciling", "WritesFail",
                     "AgentDown", "ContainerDown")),
    Row("HistoryStopped", ("HistoryBehind",)),
    Row("PeerSilent", tuple(name for name in CUT_OFF if name != "PeerSilent")),
    Row("PeerSilent", ("OverlaySilent",)),
    Row("OverlaySilent", ("ClusterDnsSilent", "BackendDead", "RelayDown")),
    Row("AgentDown", ("NodeNotReady", "NodeUnasked", "PodWithoutNetwork", *UNWRITTEN)),
    Row("AgentSilent", ("NodeNotReady", "PodWithoutNetwork", *UNWRITTEN)),
    Row("ApiPartition", UNWRITTEN),
    Row("NotReconciling", ("VipDrift", "ServiceDrift", "NotProven")),
    Row("MapFull", ("WritesFail", "PolicyTrouble", *UNWRITTEN)),
    Row("WritesFail", ("PolicyTrouble", *UNWRITTEN)),
    Row("PolicyTrouble", ("PodClosed",)),
    Row("EnvoyDown", ("PolicyBehind",)),
    Row("DnsProxyDown", ("PolicyBehind",)),
    Row("MtuBlackHole", ("SessionFlaps",)),
    Row("ClockSkew", ("CertificateEnded", "CertificateEarly"), anywhere=True),
    *(Row(name, ("ApiPartition", "NodeUnasked"), anywhere=True)
      for name in ("CertificateEnded", "CertificateEarly", "CertificateName")),
    Row("L2SelectsNothing", ("NobodyAnnounces",), anywhere=True),
    Row("NodeNotReady", ("NodeUnasked", "AnsweredTwice", "AnswererGone", "RelayDown",
                         "BackendDead", *UNANNOUNCED)),
    Row("SpeakerDown", UNANNOUNCED),
    Row("NotAnnounced", UNANNOUNCED),
    *(Row(name, UNANNOUNCED, anywhere=True) for name in (*SESSIONS, *WRITTEN)),
    Row("OperatorDown", ("OperatorBehind", *NO_ADDRESS), anywhere=True),
    Row("NoPool", NO_ADDRESS, anywhere=True),
    Row("PoolConflict", NO_ADDRESS, anywhere=True),
    *(Row(name, ("ClusterDnsSilent",), anywhere=True, subject="service kube-system/kube-dns")
      for name in ("NoPodMatches", "NoReadyPod")),
)  # fmt: skip
"""Every row; no kind follows from itself, by whatever way."""
_OF_CAUSE: dict[str, list[Row]] = {}
for _row in FOLLOWS:
    _OF_CAUSE.setdefault(_row.cause, []).append(_row)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A finding in its place."""

    finding: Finding
    follows: Finding | None = None
    """The first of what it follows from."""


def rank(found: Sequence[Finding]) -> list[Ranked]:
    """Return findings, the heaviest first; of one weight causes first, then as they came."""
    causes = [
        [at for at, other in enumerate(found) if other is not one and _brings(other, one)]
        for one in found
    ]
    depths = [0] * len(found)
    weights = [one.kind.weight for one in found]
    for _ in FOLLOWS:  # as long as the longest chain can be
        for at, listed in enumerate(causes):
            for cause in listed:
                depths[at] = max(depths[at], depths[cause] + 1)
                weights[cause] = Weight(max(weights[cause], weights[at]))
    order = sorted(range(len(found)), key=lambda at: (-weights[at], depths[at], at))
    return [Ranked(found[at], found[causes[at][0]] if causes[at] else None) for at in order]


def _brings(cause: Finding, symptom: Finding) -> bool:
    return any(
        symptom.kind.name in row.brings
        and row.subject in ("", cause.subject)
        and (row.anywhere or _share(cause, symptom))
        for row in _OF_CAUSE.get(cause.kind.name, ())
    )


def _share(cause: Finding, symptom: Finding) -> bool:
    """Return whether both name a node; what names none may follow from any."""
    one, other = nodes_of(cause), nodes_of(symptom)
    return not one or not other or bool(one & other)


def nodes_of(finding: Finding) -> set[str]:
    """Return the nodes that a finding names."""
    named = (finding.values.get(key, "") for key in ("node", "nodes", "peer", "owner"))
    return {word for text in named for word in text.split(", ") if word}
