"""Checks over the whole system, for `cairn doctor`.

Facts  ->  Finding

Invariants  Pure: what the facts do not hold is not claimed.
"""
