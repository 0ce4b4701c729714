"""`cairn agent`: one node's network, kept as the cluster's objects say.

    API objects, CNI calls, session events  ->  BPF maps, pod links, the speaker's state, status

Not here    BGP itself (`cairn speaker`), addresses for Services (`cairn operator`).
"""
