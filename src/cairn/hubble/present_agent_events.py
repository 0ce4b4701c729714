"""What agents did, as lines.

GetAgentEventsResponse  ->  "Jan 15 10:30:15.123 [node-1]: ENDPOINT_CREATED (id 7, pod a/b)"
"""

from typing import Any

from cairn.hubble.present_time import Spell
from cairn.hubble.present_words import enum_name

_WORDS = {"pod_name": "pod", "rule_count": "rules", "old_identity": "old identity"}


def agent_event_line(response: Any, spell: Spell) -> str:
    """Return an event as a line, with all that it tells."""
    event = response.agent_event
    kind = enum_name("flow.AgentEventType", event.type)
    which = event.WhichOneof("notification")
    details = ", ".join(_details(getattr(event, which))) if which else ""
    node = f" [{response.node_name}]" if response.node_name else ""
    return f"{spell(response.time)}{node}: {kind}" + (f" ({details})" if details else "")


def _details(notification: Any) -> list[str]:
    found = []
    for field, value in notification.ListFields():
        name = _WORDS.get(field.name, field.name.replace("_", " "))
        if field.is_repeated:
            found.append(f"{name} {' '.join(map(str, value))}")
        elif field.message_type is None:
            found.append(f"{name} {value}")
        elif hasattr(value, "value"):
            found.append(f"{name} {value.value}")
    return found
