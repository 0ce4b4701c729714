"""`cairn dns`: a node's DNS proxy, in a process of its own.

    pods' queries that policy steers here  ->  their servers  ->  what is learnt, then the answers

It keeps what it was last told and what it learnt, in memory and in files, so that names resolve
without the agent and after a restart.

Not here    What is allowed and learnt (cairn.dns), what it is told (desired.dns_policy).
"""
