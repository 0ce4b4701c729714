"""The numbers of DNS by name; numbers without a name pass through as plain integers.

    IANA registry  ->  enums

Standards   RFC 1035 s3.2, RFC 2782, RFC 3596, RFC 6891
"""

from enum import IntEnum


class Type(IntEnum):
    """Types of records that we make or ask for."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    ANY = 255


class Class(IntEnum):
    """Classes of records."""

    IN = 1
    CH = 3


class Opcode(IntEnum):
    """Kinds of queries."""

    QUERY = 0


class Rcode(IntEnum):
    """Outcomes."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16
