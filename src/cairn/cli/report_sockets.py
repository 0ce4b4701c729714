"""What the node's own processes say on their unix sockets: agent, speaker, DNS proxy, Envoy.

    RUN/*.sock  ->  AgentFact, SpeakerFact, ProxyFact

Invariants  Who does not answer is told of in the fact's `error`; nothing is raised.
"""

import json
import socket
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from cairn.diagnose.facts import EndpointFact, Link
from cairn.diagnose.process_facts import (
    AgentFact,
    AnnouncedFact,
    ProxyFact,
    SessionFact,
    SpeakerFact,
)

PATIENCE_S = 1.5


def ask_agent(path: Path) -> AgentFact:
    """Return what the agent says of itself."""
    try:
        answer = _line(path, {"command": "REPORT"})
        if "error" in answer:
            return AgentFact(error=str(answer["error"].get("msg")))
        return msgspec.convert(answer["result"], AgentFact)
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        return AgentFact(error=_words(error))


def ask_speaker(path: Path) -> SpeakerFact:
    """Return the speaker's sessions and what it announces."""
    try:
        said = _line(path, {"get": "state"})
        return SpeakerFact(
            version=str(said.get("version") or ""),
            router_id=str(said["router_id"]),
            asn=int(said["asn"]),
            sessions=tuple(_session(peer) for peer in said["peers"]),
            announced=tuple(AnnouncedFact(r["prefix"], r["next_hop"]) for r in said["routes"]),
            bfd={row["address"]: row["state"] for row in said.get("bfd") or ()},
        )
    except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
        return SpeakerFact(error=_words(error))


def _session(peer: Mapping[str, Any]) -> SessionFact:
    return SessionFact(
        peer=peer["address"],
        asn=peer["asn"] or 0,
        local_asn=peer["local_asn"] or 0,
        state=str(peer["state"]).lower(),
        uptime_s=peer["uptime_s"],
        hold_time_s=peer["hold_time_s"],
        last_error=peer["last_error"] or "",
        received=peer["prefixes_received"],
        announced=peer["prefixes_announced"],
        not_announced={str(k): str(v) for k, v in (peer.get("not_announced") or {}).items()},
        families=tuple(peer.get("families") or ()),
        ended=int(peer.get("ended") or 0),
        life_s=float(peer.get("life_s") or 0),
    )


def ask_proxies(run: Path) -> tuple[ProxyFact, ...]:
    """Return the state of the DNS proxy and, once HTTP rules have asked for it, of Envoy."""
    needed = _places(run / "redirects.json")
    found = [_proxy("dns", run / "dns.sock", needed["dns"], {"get": "counters"})]
    if (run / "proxy" / "bootstrap.json").exists():
        found.append(_proxy("envoy", run / "proxy" / "admin.sock", needed["envoy"], None))
    return tuple(found)


def _proxy(name: str, path: Path, needed: int, question: object) -> ProxyFact:
    try:
        if question is None:
            with _connect(path) as connection:
                connection.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
                if not connection.recv(64):
                    return ProxyFact(name, "it closes the connection", needed)
        else:
            said = _line(path, question)
            counters = said.get("counters") or {}
            return ProxyFact(
                name,
                needed=needed,
                version=str(said.get("version") or ""),
                refused=int(counters.get("refused", 0)),
                asked=int(counters.get("queries", 0)),
            )
    except (OSError, ValueError) as error:
        return ProxyFact(name, _words(error), needed)
    return ProxyFact(name, "", needed)


def _places(path: Path) -> Counter[str]:
    """Return how many places policies send to each proxy, by the agent's record.

    What was left counts no more: only connections that were there before go on through it.
    """
    found: Counter[str] = Counter()
    try:
        slots = json.loads(path.read_bytes())
        for slot in slots.values():
            if slot.get("left"):
                continue
            proxy = "envoy" if slot["redirect"].get("dns") is None else "dns"
            found[proxy] += len(slot["places"])
    except (OSError, ValueError, LookupError, AttributeError, TypeError):
        return found
    return found


def read_endpoints(folder: Path, links: Mapping[str, Link]) -> tuple[EndpointFact, ...]:
    """Return the pods that the agent has wired, from its records."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            raw = json.loads(path.read_bytes())
            link = links.get(raw["host_ifname"])
            found.append(
                EndpointFact(
                    f"{raw['namespace']}/{raw['pod']}",
                    tuple(raw["addresses"]),
                    raw["host_ifname"],
                    link.mtu_bytes if link else 0,
                    raw["mac"],
                )
            )
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return tuple(found)


def _line(path: Path, question: object) -> dict[str, Any]:
    with _connect(path) as connection:
        connection.sendall(json.dumps(question).encode() + b"\n")
        with connection.makefile("rb") as answer:
            line = answer.readline()
    if not line:
        raise ConnectionResetError("it closes the connection without an answer")
    found = msgspec.json.decode(line)
    if not isinstance(found, dict):
        raise ValueError(f"unreadable answer {line[:40]!r}")
    return found


def _connect(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(PATIENCE_S)
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {PATIENCE_S} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__
