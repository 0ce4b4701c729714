"""Flows of a file of JSON lines, chosen as a server would choose them.

    lines, request  ->  GetFlowsResponse after GetFlowsResponse; a line that is none: BadLine

Standards   What `observe -o jsonpb` writes, and Hubble's exporter: a response, or a flow, a line
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from google.protobuf import json_format

from cairn.hubble.client_match import Test
from cairn.hubble.proto import message


class BadLine(ValueError):
    """A line that is no flow; the text says which and why."""


def read_lines(lines: Iterable[bytes]) -> Iterator[Any]:
    """Yield the responses that lines hold; raises BadLine."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _read(number, line)


def _read(number: int, line: bytes) -> Any:
    response = message("observer.GetFlowsResponse")()
    try:
        json_format.Parse(line, response, ignore_unknown_fields=True)
        if response.WhichOneof("response_types") is None:
            json_format.Parse(line, response.flow, ignore_unknown_fields=True)
            if not response.flow.HasField("time"):
                raise BadLine(f"line {number} is no flow: it has no time")
    except (json_format.ParseError, UnicodeError, RecursionError) as error:
        raise BadLine(f"line {number} is no flow: {' '.join(str(error).split())[:200]}") from None
    return response


def select(responses: Iterable[Any], request: Any, matches: Test) -> Iterator[Any]:
    """Yield what a GetFlowsRequest asks for; what is not a flow always."""
    wanted = (response for response in responses if _asked(response, request, matches))
    if not request.number:
        return wanted
    if request.first:
        return islice(wanted, request.number)
    return iter(deque(wanted, min(request.number, 1 << 31)))


def _asked(response: Any, request: Any, matches: Test) -> bool:
    if response.WhichOneof("response_types") != "flow":
        return True
    time_ns = response.flow.time.ToNanoseconds()
    if request.HasField("since") and time_ns < request.since.ToNanoseconds():
        return False
    if request.HasField("until") and time_ns > request.until.ToNanoseconds():
        return False
    return matches(response.flow)
