"""`cairn speaker`: a node's BGP sessions, in a process of their own.

    desired.SpeakerConfig lines  ->  BGP peers;  session events  ->  lines

It keeps what it was last told, in memory and in a file, so that sessions outlive the agent.

Not here    The protocol (cairn.bgp), its sockets (cairn.drive.bgp), what to announce (the agent).
"""
