"""Appliers: read what is, plan the difference, write it.

    desired values  ->  kernel state, API status

Invariants  Thin: a decision made here is in the wrong place. Each failed write is reported.
"""
