"""Error codes and subcodes of NOTIFICATION, and the violation that ends a session.

    wrong octets  ->  Violation(code, subcode, data)  ->  the NOTIFICATION to send

Standards   RFC 4271 s4.5, s6; RFC 4486, RFC 9003, RFC 8538, RFC 9384 (Cease); RFC 5492, RFC 9234
            (OPEN); RFC 6608 (FSM); RFC 7313 (route refresh)
"""

from enum import IntEnum

from cairn.wire import Malformed


class ErrorCode(IntEnum):
    """Which part of the protocol was broken."""

    MESSAGE_HEADER = 1
    OPEN_MESSAGE = 2
    UPDATE_MESSAGE = 3
    HOLD_TIMER_EXPIRED = 4
    FINITE_STATE_MACHINE = 5
    CEASE = 6
    ROUTE_REFRESH = 7


class HeaderError(IntEnum):
    """Subcodes of MESSAGE_HEADER."""

    UNSPECIFIC = 0
    CONNECTION_NOT_SYNCHRONIZED = 1
    BAD_MESSAGE_LENGTH = 2
    BAD_MESSAGE_TYPE = 3


class OpenError(IntEnum):
    """Subcodes of OPEN_MESSAGE."""

    UNSPECIFIC = 0
    UNSUPPORTED_VERSION_NUMBER = 1
    BAD_PEER_AS = 2
    BAD_BGP_IDENTIFIER = 3
    UNSUPPORTED_OPTIONAL_PARAMETER = 4
    UNACCEPTABLE_HOLD_TIME = 6
    UNSUPPORTED_CAPABILITY = 7
    ROLE_MISMATCH = 11


class UpdateError(IntEnum):
    """Subcodes of UPDATE_MESSAGE."""

    UNSPECIFIC = 0
    MALFORMED_ATTRIBUTE_LIST = 1
    UNRECOGNIZED_WELL_KNOWN_ATTRIBUTE = 2
    MISSING_WELL_KNOWN_ATTRIBUTE = 3
    ATTRIBUTE_FLAGS_ERROR = 4
    ATTRIBUTE_LENGTH_ERROR = 5
    INVALID_ORIGIN_ATTRIBUTE = 6
    INVALID_NEXT_HOP_ATTRIBUTE = 8
    OPTIONAL_ATTRIBUTE_ERROR = 9
    INVALID_NETWORK_FIELD = 10
    MALFORMED_AS_PATH = 11


class FsmError(IntEnum):
    """Subcodes of FINITE_STATE_MACHINE: the state in which the message was unexpected."""

    UNSPECIFIC = 0
    IN_OPEN_SENT = 1
    IN_OPEN_CONFIRM = 2
    IN_ESTABLISHED = 3


class Cease(IntEnum):
    """Subcodes of CEASE."""

    UNSPECIFIC = 0
    MAXIMUM_NUMBER_OF_PREFIXES_REACHED = 1
    ADMINISTRATIVE_SHUTDOWN = 2
    PEER_DE_CONFIGURED = 3
    ADMINISTRATIVE_RESET = 4
    CONNECTION_REJECTED = 5
    OTHER_CONFIGURATION_CHANGE = 6
    CONNECTION_COLLISION_RESOLUTION = 7
    OUT_OF_RESOURCES = 8
    HARD_RESET = 9
    BFD_DOWN = 10


class RefreshError(IntEnum):
    """Subcodes of ROUTE_REFRESH."""

    UNSPECIFIC = 0
    INVALID_MESSAGE_LENGTH = 1


SUBCODES: dict[ErrorCode, type[IntEnum]] = {
    ErrorCode.MESSAGE_HEADER: HeaderError,
    ErrorCode.OPEN_MESSAGE: OpenError,
    ErrorCode.UPDATE_MESSAGE: UpdateError,
    ErrorCode.FINITE_STATE_MACHINE: FsmError,
    ErrorCode.CEASE: Cease,
    ErrorCode.ROUTE_REFRESH: RefreshError,
}


def spell(code: int, subcode: int) -> str:
    """Return code and subcode in words, or as numbers where nobody has named them."""
    if code not in set(ErrorCode):
        return f"error {code}/{subcode}"
    words = _words(ErrorCode(code))
    subcodes = SUBCODES.get(ErrorCode(code))
    if subcodes is not None and subcode in {int(member) for member in subcodes}:
        return f"{words}: {_words(subcodes(subcode))}" if subcode else words
    return f"{words}: subcode {subcode}" if subcode else words


def _words(member: IntEnum) -> str:
    return member.name.lower().replace("_", " ")


class Violation(Malformed):
    """Octets for which the standard ends the session, with the NOTIFICATION that says so."""

    def __init__(
        self, code: ErrorCode, subcode: int, found: str, *, at: int, data: bytes = b""
    ) -> None:
        super().__init__(found, at=at)
        self.code = code
        self.subcode = subcode
        self.data = data
