"""Which connections that policies judged have ended or gone silent.

    columns of `policy_flows` (abi.records.FLOW_KEY, POLICY_FLOW)  ->  which to delete

An entry that is gone too early costs more than one that stays: the next packet may be an answer,
which would be judged as if its sender had opened the connection. So the limits are those of
`conntrack` (observe.expiry), and longer for what has not been answered than the slowest opener.

Limits      RFC 5382 s5: 2 h 4 min for established TCP; RFC 4787 s4.3: 2 min for UDP
Invariants  A flow whose entry is young stays, whatever it says.
Cost        about 0.1 us for each entry
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cairn.abi.structs import FlowFlag
from cairn.net import Protocol

NS_PER_S = 1_000_000_000

Records = npt.NDArray[np.void]


@dataclass(frozen=True, slots=True)
class FlowLimits:
    """How long a connection may be silent, in seconds."""

    established_s: float = 7440
    """TCP that both ends have spoken on."""
    opening_s: float = 150
    """TCP that the other end has not answered: Linux gives up after 127 s."""
    closing_s: float = 60
    """TCP that has said FIN or RST: no longer than its ends remember it."""
    association_s: float = 300
    """SCTP."""
    other_s: float = 120
    """UDP, ICMP, and what else there is."""


DEFAULT_LIMITS = FlowLimits()


def expired_flows(
    keys: Records, values: Records, now_ns: int, limits: FlowLimits = DEFAULT_LIMITS
) -> npt.NDArray[np.bool_]:
    """Return which flows may go; `now_ns` is CLOCK_MONOTONIC."""
    flags, protocol = values["flags"], keys["protocol"]
    tcp = protocol == Protocol.TCP
    limit_s = np.full(len(keys), limits.other_s)
    limit_s[protocol == Protocol.SCTP] = limits.association_s
    limit_s[tcp] = limits.established_s
    limit_s[tcp & (flags & FlowFlag.ANSWERED == 0)] = limits.opening_s
    limit_s[tcp & (flags & FlowFlag.CLOSING != 0)] = limits.closing_s
    seen_ns = np.maximum(values["seen_ns"], values["created_ns"]).astype(np.int64)
    expired: npt.NDArray[np.bool_] = now_ns - seen_ns > limit_s * NS_PER_S
    return expired
