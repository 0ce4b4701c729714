"""Path attributes: one module each, and the table of all.

    flags, code, octets  <->  one value each

Standards   RFC 4271 s4.3, s5; RFC 7606 s7
"""
