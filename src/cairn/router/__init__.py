"""The home router: BGP towards the nodes, ECMP routes in the kernel, a guard on port 179, views.

    YAML configuration, BGP peers  ->  routes of this namespace's kernel, bgpctl's tables

Not here    The BGP protocol (cairn.bgp), its sockets (cairn.drive.bgp), netlink (cairn.netlink).
"""
