"""The lab: a home network with a cluster in it, on one machine, in network namespaces.

    `cairn lab up`  ->  hosts, links, an API server, a router, nodes, pods

Not here    What a node runs on a real cluster too: agent, speaker, operator.
"""
