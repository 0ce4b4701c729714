"""What is wrong with a request.

a request that cannot be answered  ->  BadRequest, NoSuchThing: one line
"""


class BadRequest(ValueError):
    """The text says what cannot be and what could."""


class NoSuchThing(Exception):
    """There is none of what was asked for; the text says why, and what there is."""
