"""Flows over gRPC: Hubble's API, and the stream between nodes and relay.

FlowStore  ->  messages
"""
