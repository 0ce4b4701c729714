"""What is wrong with a patch: a text, and the answer's status code.

patch  ->  PatchError(text, code)
"""


class PatchError(Exception):
    """A patch that cannot be applied."""

    def __init__(self, text: str, *, code: int = 400) -> None:
        super().__init__(text)
        self.code = code
        """HTTP status: 400 malformed, 413 too large, 415 unknown sort, 422 does not fit."""
