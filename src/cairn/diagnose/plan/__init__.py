"""What an apply would change in the whole network, before it happens.

World before, World after  ->  rows of what differs

Invariants  Pure: the compilers of the running system say both what is and what would be.
"""
