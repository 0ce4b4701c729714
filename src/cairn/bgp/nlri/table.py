"""The table of address families that routes are exchanged of.

Family  ->  NlriKind
"""

from cairn.bgp.nlri import ipv4_unicast, ipv6_unicast

ALL = (ipv4_unicast.KIND, ipv6_unicast.KIND)
BY_FAMILY = {kind.family: kind for kind in ALL}
