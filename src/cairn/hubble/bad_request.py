"""What is wrong with a request.

a request that cannot be answered  ->  BadRequest, one line
"""


class BadRequest(ValueError):
    """The text says what cannot be and what could, in one line."""
