"""Capabilities of OPEN: one module each, and the table of all.

    code, octets  <->  one frozen value each

Standards   RFC 5492
Not here    what two lists of capabilities agree on (cairn.bgp.negotiate).
"""
