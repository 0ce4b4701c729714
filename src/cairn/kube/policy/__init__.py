"""Network policies of every language, read into one form.

    NetworkPolicy, ClusterNetworkPolicy, Cilium(Clusterwide)NetworkPolicy  ->  Policy

Not here    Which pods that means at the moment, and what follows (compile.policy).
"""
