"""Findings of area 2: BGP and the router.

nothing  ->  rows of the registry
"""

from cairn.diagnose.finding import Kind, Weight
from cairn.diagnose.kinds.written import written

BGP = (
    Kind(
        "CRN-201",
        "WrongAsn",
        "peers disagree on an AS number",
        Weight.ERROR,
        "{node} and {peer} disagree on an AS number: {reason}",
        (
            "kubectl edit ciliumbgppeeringpolicy (peerASN of {peer} is {asn} here; the router "
            "says {router_asn})"
        ),
        (
            "A BGP session cannot be established, since one end expects another AS number "
            "than the other has."
        ),
    ),
    Kind(
        "CRN-202",
        "WrongPassword",
        "TCP MD5 keys differ",
        Weight.ERROR,
        "{node} and {peer} have different TCP MD5 keys: {reason}",
        (
            "kubectl -n kube-system create secret generic NAME --from-literal=password=KEY (the "
            "router's key, under the name that authSecretRef says)"
        ),
        (
            "The kernel of one end drops the segments of the other, for their TCP MD5 "
            "signatures do not fit. Neither daemon sees more than a timeout."
        ),
    ),
    Kind(
        "CRN-203",
        "HoldTimer",
        "hold timer ran out",
        Weight.ERROR,
        "the session of {node} with {peer} ends because its hold timer runs out: {reason}",
        (
            "cairn lab exec {node} -- ping -c 3 {peer} (messages do not arrive within the "
            "hold time: look for loss, or a paused host)"
        ),
        "The session was established and ended, for nothing was heard within the hold time.",
    ),
    Kind(
        "CRN-204",
        "HoldTimeRefused",
        "hold time is not accepted",
        Weight.ERROR,
        "{peer} does not accept the hold time of {node}: {reason}",
        (
            "kubectl edit ciliumbgppeeringpolicy (holdTimeSeconds: 0, or 3 and more, and what "
            "the router accepts)"
        ),
        "The router does not take the hold time that the node proposes.",
    ),
    Kind(
        "CRN-205",
        "PeerRefuses",
        "router refuses the connection",
        Weight.ERROR,
        "{peer} refuses {node}'s connection to TCP port 179: {reason}",
        (
            "cairn lab exec router -- bgpctl show neighbor (start the routing daemon, or let "
            "it accept {node})"
        ),
        (
            "The router's host answers, and nothing takes connections at TCP port 179, or it "
            "resets those of this node."
        ),
    ),
    Kind(
        "CRN-206",
        "PeerUnreachable",
        "router does not answer",
        Weight.ERROR,
        "{peer} does not answer {node} at TCP port 179: {reason}",
        (
            "cairn lab exec {node} -- ping -c 3 {peer} (then look for a firewall that drops "
            "TCP port 179)"
        ),
        "Nothing comes back from the router at TCP port 179.",
    ),
    Kind(
        "CRN-207",
        "PeerClosed",
        "router closed the session",
        Weight.ERROR,
        "{peer} closed the session with {node}: {reason}",
        "cairn lab exec router -- bgpctl show neighbor {address}",
        "The router ended the session of its own will.",
    ),
    Kind(
        "CRN-208",
        "PrefixLimit",
        "more prefixes than the peer takes",
        Weight.ERROR,
        "the session of {node} with {peer} ended at a limit of prefixes: {reason}",
        (
            "cairn lab exec router -- bgpctl show neighbor {address} (raise max-prefix there, or "
            "announce fewer addresses)"
        ),
        "The session was ended since more prefixes were announced than the other end takes.",
    ),
    Kind(
        "CRN-209",
        "SessionDown",
        "session is not established",
        Weight.ERROR,
        "BGP of {node} with {peer} is {state}: {reason}",
        "kubectl -n kube-system logs ds/cairn -c speaker --tail=20",
        "A session is not established, and neither end says why.",
    ),
    Kind(
        "CRN-211",
        "SpeakerDown",
        "node's speaker does not answer",
        Weight.ERROR,
        "the BGP speaker of {node} does not answer: {reason}",
        "kubectl -n kube-system logs {pod} -c speaker --tail=20",
        (
            "The node's BGP speaker cannot be asked; whether its sessions stand is not known "
            "from here."
        ),
    ),
    Kind(
        "CRN-212",
        "RouteMissing",
        "router lacks a next hop",
        Weight.ERROR,
        (
            "the router does not use {node} ({nexthop}) for {prefix}, though {node} announces "
            "it: {reason}"
        ),
        "cairn lab exec router -- bgpctl show rib {prefix}",
        "A node announces an address, the router has the path and does not use it.",
    ),
    Kind(
        "CRN-213",
        "RouteStale",
        "router holds a next hop that nobody announces",
        Weight.ERROR,
        "the router sends {prefix} to {nexthop}, and no node with this address announces it",
        (
            "cairn lab exec router -- ip route show {prefix} (a static or stale route: remove "
            "it at the router)"
        ),
        (
            "The router sends traffic for an address to a node that does not announce it: "
            "this traffic is lost."
        ),
    ),
    Kind(
        "CRN-214",
        "RouteFiltered",
        "router does not accept a prefix",
        Weight.ERROR,
        (
            "the router has no path to {prefix} from {node}, which announces it over an "
            "established session: a filter drops it"
        ),
        (
            "cairn lab exec router -- bgpctl show rib {prefix} (let the router's import filter "
            "accept it)"
        ),
        (
            "A node announces an address over an established session, and the router has no "
            "path from it."
        ),
    ),
    Kind(
        "CRN-215",
        "MultipathOff",
        "router uses one of several paths",
        Weight.WARNING,
        (
            "the router knows {paths} equal paths to {prefix} and uses {used}: all traffic "
            "goes through {nexthops}"
        ),
        (
            "cairn lab exec router -- ip route show {prefix} (allow multipath at the router; "
            "cairn router: multipath, FRR: maximum-paths ibgp, BIRD: merge paths)"
        ),
        ("All traffic for an address goes through one node, though several announce it equally."),
    ),
    Kind(
        "CRN-216",
        "NotInstalled",
        "router's kernel lacks a route",
        Weight.ERROR,
        "the router chose a path to {prefix}, and its kernel has no route: {reason}",
        "cairn lab exec router -- ip route show {prefix}",
        "The router knows the way by BGP and does not forward there.",
    ),
    Kind(
        "CRN-217",
        "BgpConflict",
        "BGP policies contradict each other",
        Weight.ERROR,
        "{subject}: {reason}",
        "kubectl describe ciliumbgppeeringpolicy",
        ("Two peering policies say different things of one peer or node. Cairn keeps what it had."),
    ),
    Kind(
        "CRN-218",
        "SelectsNoNode",
        "BGP policy selects no node",
        Weight.ERROR,
        "{subject} selects no node: {reason}",
        "kubectl get nodes --show-labels",
        "No node peers because of this policy.",
    ),
    Kind(
        "CRN-221",
        "TtlSecurity",
        "TTL check drops the peer's packets",
        Weight.ERROR,
        "{peer} and {node} do not agree on TTL security or multihop: {reason}",
        (
            "kubectl edit ciliumbgppeeringpolicy (give both ends of {peer} the same ttlSecurity "
            "or eBGPMultihop)"
        ),
        "One end drops the other's packets since their TTL is too low.",
    ),
    Kind(
        "CRN-223",
        "RouterUnforwarding",
        "router does not forward",
        Weight.ERROR,
        "the router's kernel has {setting} = {value}, not {wanted}",
        "cairn lab exec router -- sysctl -w {setting}={wanted}",
        "The router does not forward packets at all, or not of one family.",
    ),
    Kind(
        "CRN-224",
        "PasswordMissing",
        "Secret with a peer's password is missing",
        Weight.ERROR,
        "{node} has no session with a peer, for its password is missing: {reason}",
        "kubectl -n kube-system create secret generic {secret} --from-literal=password=KEY",
        (
            "A peer's authSecretRef names a Secret that does not exist, or has no key `password`. "
            "Without its password the session would be an open one: it is left out."
        ),
    ),
    written(
        "CRN-230",
        "NoRouter",
        "peering policy without a router",
        Weight.ERROR,
        "A peering policy has no valid router: nobody peers.",
    ),
    written(
        "CRN-231",
        "InvalidRouter",
        "virtual router is not understood",
        Weight.ERROR,
        "A virtual router is ignored.",
    ),
    written(
        "CRN-232",
        "NoServiceSelector",
        "peering policy announces nothing",
        Weight.WARNING,
        "The policy peers and announces no Service.",
    ),
    written(
        "CRN-233",
        "NeighborFragment",
        "neighbor in pieces",
        Weight.NOTE,
        "An item without peerAddress was taken to belong to the neighbor above it.",
    ),
    written(
        "CRN-234",
        "InvalidNeighbor",
        "neighbor is not understood",
        Weight.ERROR,
        "A neighbor is ignored.",
    ),
    written(
        "CRN-235",
        "MultihopIgnored",
        "multihop on iBGP",
        Weight.NOTE,
        "Multihop means nothing on iBGP.",
    ),
    written(
        "CRN-236",
        "PlainPassword",
        "password in the object",
        Weight.NOTE,
        "A password stands in the object.",
    ),
    written(
        "CRN-237",
        "PasswordInTheOpen",
        "password that all can read",
        Weight.NOTE,
        "All who may read the policy can read the password.",
    ),
    written(
        "CRN-238",
        "KindDropped",
        "kind that upstream dropped",
        Weight.NOTE,
        "Other systems do not read this kind any more; Cairn does.",
    ),
    written(
        "CRN-239",
        "NodeSelectorMissing",
        "every node peers",
        Weight.NOTE,
        "Without a nodeSelector every node peers.",
    ),
    written(
        "CRN-240",
        "NodeSelectorSelectsNothing",
        "node selector selects no node",
        Weight.ERROR,
        "No node has the labels that are asked for.",
    ),
    written(
        "CRN-241",
        "CairnOnlyField",
        "field that only Cairn knows",
        Weight.NOTE,
        "A field works here and nowhere else.",
    ),
    written(
        "CRN-242",
        "FamilyRepeated",
        "family said twice",
        Weight.NOTE,
        "ipFamily only repeats what the address says.",
    ),
    written(
        "CRN-244",
        "RetriedSooner",
        "connect retry time longer than Cairn's",
        Weight.NOTE,
        "The node tries again sooner than the policy says.",
    ),
    written(
        "CRN-243",
        "RoutesShortForm",
        "routes in the short form",
        Weight.NOTE,
        "Routes are in Cairn's short form.",
    ),
    Kind(
        "CRN-219",
        "NotAnnounced",
        "prefix that a peer is not told",
        Weight.WARNING,
        "{node} does not tell {peer} of {prefix}: {reason}",
        "kubectl get ciliumbgpnodeconfigs {node} -o yaml",
        "The router does not learn an address by this session, though the node announces it.",
    ),
    Kind(
        "CRN-220",
        "SessionFlaps",
        "session that comes and goes",
        Weight.WARNING,
        (
            "the session of {node} with {peer} ended {count} times in ten minutes, after {life} "
            "each: {reason}"
        ),
        "kubectl -n kube-system logs {pod} -c speaker --tail=50",
        "Each time it ends, routes go and come back; with graceful restart off, connections break.",
    ),
    Kind(
        "CRN-222",
        "BgpIgnored",
        "part of the BGP configuration is not honoured",
        Weight.WARNING,
        "the BGP configuration of {node} is not honoured whole: {reason}",
        "kubectl get ciliumbgpnodeconfigs {node} -o yaml",
        "A peer or an option that is written is not in force on the node.",
    ),
)
