"""Reachability information: lists of prefixes, one module per family, and the table.

    octets of a whole list  <->  tuple of networks

Standards   RFC 4271 s4.3; RFC 4760 s5
"""
