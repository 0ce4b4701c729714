"""Findings of area 1: addresses and pools.

nothing  ->  rows of the registry
"""

from cairn.diagnose.finding import Kind, Weight
from cairn.diagnose.kinds.written import written

ADDRESSES = (
    Kind(
        "CRN-101",
        "PoolExhausted",
        "pool has no free address",
        Weight.ERROR,
        "{subject} has no address: {reason}",
        "kubectl edit ciliumloadbalancerippool {pool} (add a block)",
        "A Service waits for an address, and the pool that would give it has none left.",
    ),
    Kind(
        "CRN-102",
        "AddressPending",
        "Service waits for an address",
        Weight.ERROR,
        "{subject} has no address: {reason}",
        "kubectl -n {namespace} describe service {service}",
        (
            "A Service of type LoadBalancer has no address yet, for a reason that the "
            "operator tells."
        ),
    ),
    Kind(
        "CRN-103",
        "NoPoolSelects",
        "no pool selects the Service",
        Weight.ERROR,
        "{subject} has no address: {reason}",
        "kubectl -n {namespace} label service {service} {label}",
        "There are pools, and none of them is meant for this Service.",
    ),
    Kind(
        "CRN-104",
        "PoolConflict",
        "pools overlap",
        Weight.ERROR,
        "{subject} gives no address: {reason}",
        "kubectl get ciliumloadbalancerippool -o yaml (take the block out of one of them)",
        (
            "Two pools hold the same addresses; the later one gives none of its own, so that "
            "no address is given twice."
        ),
    ),
    Kind(
        "CRN-105",
        "AddressConflict",
        "a stranger has a Service's address",
        Weight.ERROR,
        "{subject}: {reason}",
        (
            "cairn lab exec router -- ip neigh show {address} (find the host and give it "
            "another address)"
        ),
        (
            "Another host on the segment answers ARP or neighbour discovery for a Service's "
            "address: clients reach one or the other."
        ),
    ),
    Kind(
        "CRN-106",
        "PoolNearlyFull",
        "pool is nearly full",
        Weight.WARNING,
        "{pool} has given {used} of {total} addresses",
        "kubectl edit ciliumloadbalancerippool {pool} (add a block)",
        "At least nine tenths of a pool are given. New Services will soon wait.",
    ),
    Kind(
        "CRN-107",
        "ForeignClass",
        "Service is another controller's",
        Weight.NOTE,
        "{subject} has loadBalancerClass {class}, which is not Cairn's",
        (
            "kubectl -n {namespace} edit service {service} (leave loadBalancerClass out, unless "
            "another controller is to give the address)"
        ),
        "The Service belongs to another controller, and Cairn leaves it alone.",
    ),
    Kind(
        "CRN-108",
        "NobodyAnnounces",
        "address that nobody announces",
        Weight.ERROR,
        "{subject} has the address {address} and no node announces it: {reason}",
        "kubectl get ciliumbgppeeringpolicy -o wide",
        ("The Service has an address and ready pods, and neither BGP nor ARP leads anybody to it."),
    ),
    Kind(
        "CRN-110",
        "OperatorBehind",
        "operator has not looked at a Service",
        Weight.ERROR,
        (
            "{subject} has neither an address nor a condition that says why: the operator has "
            "not looked at it"
        ),
        "kubectl -n kube-system logs deploy/cairn-operator --tail=20",
        "The Service has no address and nobody has said why.",
    ),
    written(
        "CRN-120",
        "PoolOnLink",
        "pool lies in the nodes' subnet",
        Weight.NOTE,
        (
            "Clients in the nodes' subnet ask for such an address by ARP and use no route; "
            "one elected node answers."
        ),
    ),
    written(
        "CRN-121",
        "CidrsAlias",
        "pool in the older schema",
        Weight.NOTE,
        "The pool uses the older name of its field.",
    ),
    written(
        "CRN-122",
        "HostBits",
        "network with host bits",
        Weight.NOTE,
        (
            "A network was written with an address in it, and can be read in two ways; Cairn "
            "uses what both hold."
        ),
    ),
    written(
        "CRN-123",
        "InvalidBlock",
        "block of a pool is no block",
        Weight.ERROR,
        "A block of a pool is no network and no range, and gives nothing.",
    ),
    written(
        "CRN-124",
        "NoAddresses",
        "pool without addresses",
        Weight.ERROR,
        "The pool has no address to give.",
    ),
    written(
        "CRN-125",
        "SelectsNoService",
        "selector of Services matches none",
        Weight.WARNING,
        "A selector holds for none of the LoadBalancer Services.",
    ),
    written(
        "CRN-126",
        "SelectsEveryService",
        "selector of Services matches all",
        Weight.NOTE,
        "A selector holds for every LoadBalancer Service, private ones too.",
    ),
    written(
        "CRN-127",
        "InvalidSelector",
        "selector that is not understood",
        Weight.ERROR,
        "A selector is not understood and selects nothing.",
    ),
    written(
        "CRN-128",
        "NothingAsked",
        "L2 policy asks for nothing",
        Weight.WARNING,
        "An L2 policy asks for neither load-balancer addresses nor external IPs.",
    ),
    written(
        "CRN-129",
        "InvalidInterface",
        "interface pattern is not understood",
        Weight.ERROR,
        "A pattern of interfaces is no regular expression.",
    ),
    Kind(
        "CRN-130",
        "L2SelectsNothing",
        "L2 policy announces nothing",
        Weight.WARNING,
        "{subject} announces nothing: {reason}",
        "kubectl describe ciliuml2announcementpolicies {name}",
        "No address is answered for because of this policy.",
    ),
    Kind(
        "CRN-131",
        "AnswererGone",
        "address is answered for by a node that is gone",
        Weight.ERROR,
        "{node} is to answer ARP and ND for {address}, and {reason}",
        "kubectl get nodes {node} -o wide",
        "Clients in the nodes' subnet ask for the address and nobody answers them.",
    ),
    Kind(
        "CRN-109",
        "AddressTwice",
        "two Services hold one address",
        Weight.ERROR,
        "{address} is held by {services}, which may not share it",
        (
            "kubectl -n {namespace} annotate service {service} lbipam.cilium.io/sharing-key=KEY "
            "(the same on both; or have one ask for another address)"
        ),
        "Connections to the address reach one Service or the other, by their ports or by chance.",
    ),
)
