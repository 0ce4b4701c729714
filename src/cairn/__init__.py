"""Cairn: the whole network of a home lab or a small Kubernetes cluster.

    Kubernetes objects  ->  desired state  ->  kernel, BGP, proxy

`docs/architecture.md` has the layers and who may import whom.
"""

__version__ = "0.1.0"
