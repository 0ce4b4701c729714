"""The history's part of the relay's gRPC API.

    cairn.History/Query   Question  ->  a stream of Reply
    cairn.History/Status  nothing  ->  HistoryStatus

Layout      messages are msgpack: relay/history/jobs.py, question.py, state.py
"""

import msgspec

from cairn.relay.history.question import Question
from cairn.relay.history.state import HistoryStatus

SERVICE = "cairn.History"
QUERY, STATUS = "Query", "Status"

_QUESTION = msgspec.msgpack.Decoder(Question)
_STATUS = msgspec.msgpack.Decoder(HistoryStatus)


def write_question(question: Question) -> bytes:
    """Return a question as octets."""
    return msgspec.msgpack.encode(question)


def read_question(octets: bytes) -> Question:
    """Return the question; raises msgspec.DecodeError."""
    return _QUESTION.decode(octets)


def write_status(status: HistoryStatus) -> bytes:
    """Return a status as octets."""
    return msgspec.msgpack.encode(status)


def read_status(octets: bytes) -> HistoryStatus:
    """Return the status; raises msgspec.DecodeError."""
    return _STATUS.decode(octets)
