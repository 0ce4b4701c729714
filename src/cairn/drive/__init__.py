"""Asyncio drivers: they own sockets and clocks, and turn machines and APIs into running things.

machines, requests  ->  sockets  ->  events
"""
