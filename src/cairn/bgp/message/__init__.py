"""The bodies of BGP's messages: one module each.

    Frame.body  <->  one frozen value each

Not here    the header (cairn.bgp.framing).
"""
