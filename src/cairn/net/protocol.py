"""Transport protocols by their IP protocol number and their Kubernetes name.

    "TCP"  <->  Protocol.TCP  <->  6

Standards   IANA protocol numbers; Kubernetes v1.Protocol
"""

from enum import IntEnum


class Protocol(IntEnum):
    """A transport protocol; the value is the IP protocol number, the name Kubernetes' word."""

    TCP = 6
    UDP = 17
    SCTP = 132
