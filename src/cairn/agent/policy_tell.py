"""What is said about policies that are not in force as written: log lines and Events.

    an object, what is wrong with it  ->  one line in the log, one Event; again when it is well

Invariants  A sentence is said once for as long as it is true.
"""

import logging
from collections.abc import Mapping
from typing import Any

from cairn.drive.event_recorder import EventRecorder

About = tuple[str, str, str]
"""Kind, namespace, name of what is spoken of."""

log = logging.getLogger("policy")


class PolicyTell:
    """Says what is wrong, once."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder
        self._said: dict[tuple[About, str], str] = {}

    def wrong(
        self, about: Mapping[str, Any], reason: str, text: str, *, event: bool = True
    ) -> None:
        """Say what is wrong with an object that has kind, apiVersion and metadata.

        `event`: whether in an Event, too; of what all nodes see alike, one tells.
        """
        place = _place(about)
        if self._said.get((place, reason)) == text:
            return
        self._said[place, reason] = text
        log.error("%s: %s", "/".join(filter(None, place)), text)
        if event:
            self._recorder.record(about, reason, text, warning=True)

    def well(self, about: Mapping[str, Any], reason: str, text: str, *, event: bool = True) -> None:
        """Say that something is not wrong any more, if it was said to be."""
        place = _place(about)
        if self._said.pop((place, reason), None) is not None:
            log.info("%s: %s", "/".join(filter(None, place)), text)
            if event:
                self._recorder.record(about, reason, text)

    def gone(self, about: Mapping[str, Any]) -> None:
        """Take note that an object is no more."""
        place = _place(about)
        for said in [said for said in self._said if said[0] == place]:
            del self._said[said]


def _place(about: Mapping[str, Any]) -> About:
    metadata = about["metadata"]
    return (about.get("kind") or "", metadata.get("namespace") or "", metadata["name"])
