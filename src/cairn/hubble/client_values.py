"""Values of the flags of `observe`, read as the fields of flow.FlowFilter take them.

    text  ->  string | number | bool | message; what is none: BadFlag

Standards   Cilium api/v1/flow/flow.proto; pkg/monitor/api MessageType*, Trace*; reserved identities
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from cairn.flow.record import read_time
from cairn.hubble.proto import enum, message

VERDICTS = {"ALLOWED": "FORWARDED", "DENIED": "DROPPED"}
"""Words that people use, and what Hubble calls them."""
TYPES = {
    "drop": 1,
    "debug": 2,
    "capture": 3,
    "trace": 4,
    "policy-verdict": 5,
    "recorder-capture": 6,
    "trace-sock": 7,
    "l7": 129,
    "agent": 130,
}
TRACES = (
    "to-endpoint",
    "to-proxy",
    "to-host",
    "to-stack",
    "to-overlay",
    "from-endpoint",
    "from-proxy",
    "from-host",
    "from-stack",
    "from-overlay",
    "from-network",
    "to-network",
    "from-crypto",
    "to-crypto",
)
"""By their number; not that of enum TraceObservationPoint."""
IDENTITIES = (
    "unknown",
    "host",
    "world",
    "unmanaged",
    "health",
    "init",
    "remote-node",
    "kube-apiserver",
    "ingress",
    "world-ipv4",
    "world-ipv6",
)
"""Reserved ones, by number."""
TCP_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR", "NS")
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d))+")
_PART = re.compile(r"([\d.]+)(ms|s|m|h|d)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class BadFlag(ValueError):
    """Flags that are not understood or contradict each other; one line that says why."""


def text(value: str) -> str:
    """Return a text that is not empty."""
    if not value:
        raise BadFlag("an empty value")
    return value


def lower(value: str) -> str:
    """Return a text in lower case."""
    return text(value).lower()


def number(value: str) -> int:
    """Return a number of at most 64 bits."""
    if not (value.isascii() and value.isdecimal() and int(value) < 1 << 64):
        raise BadFlag(f"{value!r} is no number")
    return int(value)


def port(value: str) -> str:
    """Return a port as text, as the filter has it."""
    if not (value.isascii() and value.isdecimal() and len(value) <= 5 and int(value) <= 65535):
        raise BadFlag(f"port {value!r} is not 0 to 65535")
    return value


def flag(value: str) -> bool:
    """Return whether a text says yes."""
    if value.lower() not in ("true", "false"):
        raise BadFlag(f"{value!r} is neither true nor false")
    return value.lower() == "true"


def identity(value: str) -> int:
    """Return an identity's number, by number or reserved name."""
    name = value.removeprefix("reserved:").lower()
    if name in IDENTITIES:
        return IDENTITIES.index(name)
    found = number(value) if value.isdecimal() else 1 << 32
    if found >> 32:
        raise BadFlag(f"identity {value!r} is no number and none of {', '.join(IDENTITIES)}")
    return found


def of_enum(name: str, said: str) -> Any:
    """Return a reader of an enum's words: in either case, `-` for `_`."""

    def read(value: str) -> int:
        words = enum(name).values_by_name
        spelt = value.upper().replace("-", "_")
        if spelt not in words:
            raise BadFlag(f"{said} {value!r} is none of {', '.join(words)}")
        return int(words[spelt].number)

    return read


def verdict(value: str) -> int:
    """Return a verdict's number; ALLOWED is FORWARDED, DENIED is DROPPED."""
    spelt = value.upper()
    values = enum("flow.Verdict").values_by_name
    found = values.get(VERDICTS.get(spelt, spelt))
    if found is None or not found.number:
        words = ", ".join([*(name for name, one in values.items() if one.number), *VERDICTS])
        raise BadFlag(f"verdict {value!r} is none of {words}")
    return int(found.number)


def ip_version(value: str) -> int:
    """Return the number of enum IPVersion."""
    found = {"4": 1, "6": 2}.get(value.lower().removeprefix("ipv").removeprefix("v"))
    if found is None:
        raise BadFlag(f"IP version {value!r} is neither 4 nor 6")
    return found


def event_type(value: str) -> Any:
    """Return an EventTypeFilter: `drop`, `trace:to-endpoint`, `drop:policy-denied`, numbers."""
    name, colon, sub = value.lower().partition(":")
    type_ = TYPES.get(name, int(name) if name.isascii() and name.isdecimal() else None)
    if type_ is None or type_ >> 31:
        raise BadFlag(f"type {value!r} is none of {', '.join(TYPES)}")
    made = message("flow.EventTypeFilter")(type=type_)
    if colon:
        made.match_sub_type, made.sub_type = True, _sub_type(type_, sub)
    return made


def _sub_type(type_: int, name: str) -> int:
    if name.isascii() and name.isdecimal() and not int(name) >> 31:
        return int(name)
    if type_ == TYPES["trace"] and name in TRACES:
        return TRACES.index(name)
    reasons = enum("flow.DropReason").values_by_name
    spelt = name.upper().replace("-", "_")
    if type_ == TYPES["drop"] and spelt in reasons:
        return int(reasons[spelt].number)
    raise BadFlag(f"{name!r} is no sub-type: write trace:to-endpoint, drop:policy-denied, drop:133")


def tcp_flags(value: str) -> Any:
    """Return TCPFlags that must all be set: `SYN`, `SYN,ACK`."""
    names = [name.strip().upper() for name in value.split(",")]
    for name in names:
        if name not in TCP_FLAGS:
            raise BadFlag(f"TCP flag {name!r} is none of {', '.join(TCP_FLAGS)}")
    return message("flow.TCPFlags")(**dict.fromkeys(names, True))


def workload(value: str) -> Any:
    """Return a Workload: `name`, or `kind/name`; the kind in any case."""
    kind, slash, name = value.rpartition("/")
    if not value or "/" in kind:
        raise BadFlag(f"workload {value!r}: write name, or Deployment/name")
    known = {word.lower(): word for word in KINDS}
    return message("flow.Workload")(kind=known.get(kind.lower(), kind) if slash else "", name=name)


KINDS = (
    "Deployment",
    "DaemonSet",
    "StatefulSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
    "Pod",
)


def http_header(value: str) -> Any:
    """Return a HTTPHeader: `name:value`."""
    key, colon, rest = value.partition(":")
    if not colon or not key:
        raise BadFlag(f"HTTP header {value!r}: write name:value")
    return message("flow.HTTPHeader")(key=key.strip(), value=rest.strip())


def interface(value: str) -> Any:
    """Return a NetworkInterface: a name, or an index."""
    text(value)
    of = message("flow.NetworkInterface")
    if value.isascii() and value.isdecimal() and not int(value) >> 32:
        return of(index=int(value))
    return of(name=value)


def moment(value: str, now: datetime) -> datetime:
    """Return the time that `5m` (ago), `1h30m`, RFC 3339 or a date spells."""
    if _DURATION.fullmatch(value):
        try:
            ago_s = sum(float(n) * _UNITS_S[unit] for n, unit in _PART.findall(value))
            return now - timedelta(seconds=ago_s)
        except (ValueError, OverflowError):
            pass
    try:
        return read_time(value).astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadFlag(
            f"{value!r} is no time: write 90s, 5m, 1h30m, 7d, or 2026-01-31T03:12:00Z"
        ) from None
