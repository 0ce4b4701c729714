"""The one way in which decoding fails.

wrong octets  ->  Malformed(what was found, where)
"""


class Malformed(ValueError):
    """Octets that do not say what the standard says they must.

    `at` is the offset of the offending octet from the start of the buffer that was read.
    """

    def __init__(self, found: str, *, at: int) -> None:
        super().__init__(f"{found} at octet {at}")
        self.found = found
        self.at = at
