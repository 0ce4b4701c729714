"""Asks a relay's history.

Question  ->  Answer; a relay that does not answer: NoHistory
"""

from pathlib import Path
from typing import Any

import grpc
import msgspec

from cairn.relay.history.jobs import Done, Failed, Heading, Picture, Rows, read_reply
from cairn.relay.history.question import Question
from cairn.relay.history.state import HistoryStatus
from cairn.relay.history_wire import (
    QUERY,
    SERVICE,
    STATUS,
    read_status,
    write_question,
)

ANSWER_S = 120.0


class NoHistory(Exception):
    """There is no answer; the text says why."""

    def __init__(self, text: str, *, wrong_question: bool = False) -> None:
        super().__init__(text)
        self.wrong_question = wrong_question


class Answer(msgspec.Struct):
    """What the history said."""

    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = msgspec.field(default_factory=list)
    picture: Picture | None = None
    cut: bool = False
    """Whether the limit left rows out."""
    notes: tuple[str, ...] = ()
    """What it lacks."""
    failed: str = ""
    """Why there is none; empty if there is."""
    wrong_question: bool = False
    """Whether the question is at fault."""
    status: HistoryStatus | None = None
    """What the history holds, if that was asked."""


class Keys(msgspec.Struct, frozen=True):
    """Files for TLS, PEM."""

    authority: str = ""
    """Certificates to trust; empty: no TLS."""
    certificate: str = ""
    """Our own, if the relay asks for one."""
    key: str = ""


def ask(server: str, question: Question, keys: Keys) -> Answer:
    """Return the answer; raises NoHistory if the relay gives none at all."""
    answer = Answer()

    def run(channel: Any) -> None:
        call = channel.unary_stream(f"/{SERVICE}/{QUERY}")
        for octets in call(write_question(question), timeout=ANSWER_S):
            _take(answer, octets)

    _with_channel(server, keys, run)
    return answer


def ask_status(server: str, keys: Keys) -> Answer:
    """Return what the history holds; raises NoHistory."""
    answer = Answer()

    def run(channel: Any) -> None:
        answer.status = read_status(channel.unary_unary(f"/{SERVICE}/{STATUS}")(b"", timeout=30))

    _with_channel(server, keys, run)
    return answer


def _take(answer: Answer, octets: bytes) -> None:
    match read_reply(octets):
        case Heading(columns=columns):
            answer.columns = columns
        case Rows(rows=rows):
            answer.rows += rows
        case Picture() as picture:
            answer.picture = picture
        case Done(cut=cut, notes=notes):
            answer.cut, answer.notes = cut, notes
        case Failed(text=text, wrong_question=wrong):
            answer.failed, answer.wrong_question = text, wrong


def _with_channel(server: str, keys: Keys, run: Any) -> None:
    try:
        with _channel(server, keys) as channel:
            run(channel)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            raise NoHistory(f"no relay answers at {server}") from None
        raise NoHistory(f"the relay at {server}: {error.details()}") from None
    except (OSError, msgspec.DecodeError) as error:
        raise NoHistory(f"the relay at {server}: {error}") from None


def _channel(server: str, keys: Keys) -> Any:
    options = [("grpc.max_receive_message_length", -1)]
    if not keys.authority:
        return grpc.insecure_channel(server, options)

    def pem(path: str) -> bytes | None:
        return Path(path).read_bytes() if path else None

    credentials = grpc.ssl_channel_credentials(
        pem(keys.authority), pem(keys.key), pem(keys.certificate)
    )
    return grpc.secure_channel(server, credentials, options)
