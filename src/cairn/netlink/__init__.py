"""Sockets to the kernel's routing tables: links, addresses, routes and neighbours.

    desired.KernelRoute, addresses  ->  rtnetlink messages  ->  the calling thread's namespace

Invariants  A socket belongs to the namespace of the thread that made it, and stays there.
Cost        Routes go in bulk, one acknowledgement per chunk: some 200,000 a second.
"""
