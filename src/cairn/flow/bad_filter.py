"""What is wrong with a filter: one line for the person who sent it.

text  ->  BadFilter
"""


class BadFilter(ValueError):
    """A filter that cannot be understood, or is not supported."""
