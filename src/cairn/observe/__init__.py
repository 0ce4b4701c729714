"""From the data plane's records to what a person reads.

    ring-buffer records  ->  values  ->  lines

Invariants  Pure: reading the ring is the caller's work.
"""
