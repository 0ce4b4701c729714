"""Pure stages from typed views to desired state.

    kube views  ->  desired values

Invariants  No I/O, no clock, no memory: equal inputs give equal outputs, in whatever order.
"""
