"""Bidirectional Forwarding Detection, sans-IO: whether a neighbour on the link lives, in a second.

    datagrams, now  ->  Monitor  ->  datagrams, events, deadline

Standards   RFC 5880 (asynchronous mode), RFC 5881 (single hop)
Not here    Sockets and clocks (drive.bfd), who is a neighbour (compile.l2).
"""
