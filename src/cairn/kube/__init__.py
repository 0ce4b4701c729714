"""Kubernetes objects as frozen typed views; the raw JSON stays the truth.

    dict (decoded JSON)  ->  Service, EndpointSlice, Node, …

Invariants  A view is taken from an object and never written back: unknown fields cannot be lost.
"""
