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
        "{pool} has given all of its {total} addresses, and {services} wait for one",
        "kubectl edit ciliumloadbalancerippool {pool} (add a block)",
        "",
    ),
    Kind(
        "CRN-102",
        "AddressPending",
        "Service waits for an address",
        Weight.ERROR,
        "{subject} has no address: {reason}",
        "kubectl -n {namespace} describe service {service}",
        "",
    ),
    Kind(
        "CRN-103",
        "NoPoolSelects",
        "no pool selects the Service",
        Weight.ERROR,
        "{subject} has no address: {reason}",
        "kubectl -n {namespace} label service {service} {label}",
        "",
    ),
    Kind(
        "CRN-104",
        "PoolConflict",
        "pools overlap",
        Weight.ERROR,
        "{subject} gives no address: {reason}",
        "kubectl get ciliumloadbalancerippool -o yaml (take the block out of one of them)",
        "",
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
        "",
    ),
    Kind(
        "CRN-106",
        "PoolNearlyFull",
        "pool is nearly full",
        Weight.WARNING,
        "{pool} has given {used} of {total} addresses",
        "kubectl edit ciliumloadbalancerippool {pool} (add a block)",
        "",
    ),
    Kind(
        "CRN-107",
        "ForeignClass",
        "Service is another controller's",
        Weight.NOTE,
        "{subject} has loadBalancerClass {class}, which is not Cairn's",
        "leave loadBalancerClass out, unless another controller is to give the address",
        "",
    ),
    Kind(
        "CRN-108",
        "NobodyAnnounces",
        "address that nobody announces",
        Weight.ERROR,
        "{subject} has the address {address} and no node announces it: {reason}",
        "kubectl get ciliumbgppeeringpolicy -o wide",
        "",
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
        "",
    ),
    written("CRN-120", "PoolOnLink", "pool lies in the nodes' subnet", Weight.NOTE, ""),
    written("CRN-121", "CidrsAlias", "pool in the older schema", Weight.NOTE, ""),
    written("CRN-122", "HostBits", "network with host bits", Weight.NOTE, ""),
    written("CRN-123", "InvalidBlock", "block of a pool is no block", Weight.ERROR, ""),
    written("CRN-124", "NoAddresses", "pool without addresses", Weight.ERROR, ""),
    written("CRN-125", "SelectsNoService", "selector of Services matches none", Weight.WARNING, ""),
    written("CRN-126", "SelectsEveryService", "selector of Services matches all", Weight.NOTE, ""),
    written("CRN-127", "InvalidSelector", "selector that is not understood", Weight.ERROR, ""),
    written("CRN-128", "NothingAsked", "L2 policy asks for nothing", Weight.WARNING, ""),
    written("CRN-129", "InvalidInterface", "interface pattern is not understood", Weight.ERROR, ""),
)
