"""The shape that every protocol core shares, and the clock that drives them in tests.

bytes, now  ->  Machine  ->  bytes, events, deadline
"""

from cairn.machine.clock import VirtualClock
from cairn.machine.shape import Machine

__all__ = ["Machine", "VirtualClock"]
