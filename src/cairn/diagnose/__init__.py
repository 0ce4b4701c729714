"""Judgements over what the cluster's objects say: what works, what does not, what to do.

    objects  ->  rows and problems

Invariants  Pure: what cannot be known from the objects is not claimed.
"""
