"""The lab's controllers: what kube-controller-manager and kube-scheduler do on a real cluster.

    objects  ->  reconcilers, one per concern  ->  objects

Not here    Garbage collection by owner references (api), running pods (lab.kubelet).
"""
