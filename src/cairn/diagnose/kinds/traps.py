"""Kinds about manifests that work as written and will surprise, or that copy a common mistake.

code, name, title, weight  ->  Kind
"""

from cairn.diagnose.finding import Kind, Weight
from cairn.diagnose.kinds.written import written

TRAPS: tuple[Kind, ...] = (
    written(
        "CRN-180",
        "PoolHoldsHost",
        "pool holds the address of a node or router",
        Weight.WARNING,
        "A pool's blocks hold an address that a node or a BGP neighbor has; it is never given out.",
    ),
    written(
        "CRN-181",
        "LabelLikeAnnotation",
        "label named like an annotation",
        Weight.NOTE,
        "A pool selects by a label whose name others use for an annotation.",
    ),
    written(
        "CRN-280",
        "AddressWithoutLength",
        "peer address without a prefix length",
        Weight.NOTE,
        "A neighbor's address has no /32 or /128, which upstream asks for.",
    ),
    written(
        "CRN-281",
        "FieldRenamed",
        "field by an older name",
        Weight.NOTE,
        "A field has another name today.",
    ),
    written(
        "CRN-282",
        "IbgpToRouter",
        "one AS for nodes and router",
        Weight.NOTE,
        "Nodes and router are in one AS: what the nodes tell the router, it tells no other peer "
        "of that AS.",
    ),
    written(
        "CRN-283",
        "TwoPolicies",
        "two peering policies for one node",
        Weight.WARNING,
        "A second policy selects nodes that follow an older one; it changes nothing there.",
    ),
    written(
        "CRN-284",
        "FilterDeniesAddress",
        "filter denies what it should let through",
        Weight.ERROR,
        "An export filter denies addresses that Services have.",
    ),
    written(
        "CRN-285",
        "FilterTried",
        "filter tried on the addresses of today",
        Weight.NOTE,
        "An export filter was tried on every address that a Service has now.",
    ),
    written(
        "CRN-286",
        "NothingImported",
        "import filter of routes that are not used",
        Weight.NOTE,
        "Nodes install no route that they learn, so an import filter changes nothing.",
    ),
    written(
        "CRN-287",
        "SlowFailover",
        "a dead node keeps its traffic for long",
        Weight.NOTE,
        "Hold and restart times let a dead node keep its clients for minutes.",
    ),
    written(
        "CRN-580",
        "SelectorTakesNoPod",
        "Service selects no pod",
        Weight.WARNING,
        "A Service's selector matches no pod and no workload's template in its namespace.",
    ),
    written(
        "CRN-980",
        "ServerFields",
        "fields that only the server writes",
        Weight.NOTE,
        "A manifest holds fields that the API server writes, as a saved object does.",
    ),
    written(
        "CRN-981",
        "EtcdPort",
        "cluster address at the port of etcd",
        Weight.ERROR,
        "A cluster of a mesh is named by the port of a Kubernetes etcd.",
    ),
    written(
        "CRN-982",
        "ClusterTwice",
        "cluster named twice",
        Weight.ERROR,
        "A mesh names one cluster twice.",
    ),
)
