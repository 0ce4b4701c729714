"""Which fields of a flow a client wants.

    google.protobuf.FieldMask  ->  FieldMask, or BadRequest

Standards   google/protobuf/field_mask.proto: paths of names; a message's name is all of it
"""

from typing import Any

from cairn.hubble.bad_request import BadRequest
from cairn.hubble.proto import message

Flow: Any = message("flow.Flow")


class FieldMask:
    """Paths; none: all."""

    def __init__(self, asked: Any) -> None:
        """Take a google.protobuf.FieldMask; raises BadRequest."""
        for path in asked.paths:
            if not message("google.protobuf.FieldMask")(paths=[path]).IsValidForDescriptor(
                Flow.DESCRIPTOR
            ):
                raise BadRequest(f"field_mask has {path!r}, which is no field of a flow")
        self._asked = asked
        self._paths = frozenset(asked.paths)
        self._names = frozenset(path.partition(".")[0] for path in asked.paths)

    def asks(self, name: str) -> bool:
        """Return whether anything of a field is wanted."""
        return not self._names or name in self._names

    def asks_all(self, name: str) -> bool:
        """Return whether all of a field is wanted."""
        return not self._names or name in self._paths

    def apply(self, flow: Any) -> Any:
        """Return what is wanted of a flow."""
        if not self._names:
            return flow
        kept = Flow()
        self._asked.MergeMessage(flow, kept)
        return kept
