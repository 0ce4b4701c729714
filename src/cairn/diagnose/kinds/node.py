"""Findings of area 3: nodes, kernels, links, neighbours, clocks.

nothing  ->  rows of the registry
"""

from cairn.diagnose.finding import Kind, Weight

NODE = (
    Kind(
        "CRN-301",
        "NodeNotReady",
        "node is not ready",
        Weight.ERROR,
        "{subject} is not ready: {reason}",
        "kubectl describe node {node}",
        "Kubernetes does not schedule pods there and takes its pods out of Services.",
    ),
    Kind(
        "CRN-302",
        "ForwardingOff",
        "kernel does not forward",
        Weight.ERROR,
        "the kernel of {node} has {setting} = {value}, and must have {wanted}",
        (
            "sysctl -w {setting}={wanted} (on {node}; find what sets it: grep -r {setting} "
            "/etc/sysctl*)"
        ),
        "The node drops every packet that is not for itself: pods reach nothing outside.",
    ),
    Kind(
        "CRN-303",
        "SettingDrifted",
        "kernel setting was changed",
        Weight.WARNING,
        "the kernel of {node} has {setting} = {value}; Cairn set it to {wanted}",
        (
            "sysctl -w {setting}={wanted} (on {node}; find what sets it: grep -r {setting} "
            "/etc/sysctl*)"
        ),
        (
            "A kernel setting that Cairn made was changed. With reverse-path filters, answers "
            "that leave by another way than requests came are dropped."
        ),
    ),
    Kind(
        "CRN-304",
        "UplinkDown",
        "uplink has no carrier",
        Weight.ERROR,
        "{link} of {node} is {state}",
        "ip link set {link} up (on {node}; look at cable and switch port)",
        "The node is cut off from the network.",
    ),
    Kind(
        "CRN-305",
        "MtuUneven",
        "uplinks have different MTUs",
        Weight.WARNING,
        "{node} has MTU {mtu} on {link}, where {others} have {other_mtu}",
        "ip link set {link} mtu {other_mtu} (on {node}, and in its network configuration)",
        (
            "Nodes send packets of different sizes: what the larger ones send may be dropped "
            "on the way to the smaller."
        ),
    ),
    Kind(
        "CRN-306",
        "PodMtuTooLarge",
        "pod's MTU exceeds its uplink's",
        Weight.ERROR,
        (
            "{pods} have MTU {mtu}, more than the {wanted} that {node} can send: large "
            "packets vanish"
        ),
        "kubectl -n {namespace} delete pod {pod} (it comes back with the right MTU)",
        "Large packets of the pod do not fit through the node's uplink.",
    ),
    Kind(
        "CRN-307",
        "MtuBlackHole",
        "large packets do not arrive",
        Weight.ERROR,
        (
            "{node} reaches {peer} with small packets, and not with {size} octets: something "
            "between passes only {passed}"
        ),
        (
            "ping -M do -s {payload} {address} (on {node}; mend the switch or link that "
            "drops, or lower the MTU)"
        ),
        (
            "Small packets pass and large ones vanish: connections open, and stand still once "
            "data flows."
        ),
    ),
    Kind(
        "CRN-308",
        "PeerSilent",
        "node does not reach another",
        Weight.ERROR,
        "{node} gets no answer from {peer} ({address})",
        "cairn lab exec {node} -- ping -c 3 {address}",
        "A node does not reach another node at all.",
    ),
    Kind(
        "CRN-309",
        "NeighbourFailed",
        "ARP or ND is not answered",
        Weight.ERROR,
        "{node} asks for the Ethernet address of {address} ({owner}) and gets no answer",
        (
            "cairn lab exec {node} -- ip neigh show {address} (something drops ARP or ND "
            "between them)"
        ),
        (
            "The node cannot learn the Ethernet address of a host on its own segment, so that "
            "nothing reaches it."
        ),
    ),
    Kind(
        "CRN-310",
        "DuplicateAddress",
        "two hosts have one address",
        Weight.ERROR,
        (
            "{node} finds {address} at {mac}, and it is {owner}'s, whose Ethernet address is "
            "{wanted}"
        ),
        "ip neigh flush to {address} (on {node}, once the host that has {mac} has another address)",
        "Two hosts have one IP address: traffic goes to the wrong one, now and then.",
    ),
    Kind(
        "CRN-311",
        "ClockSkew",
        "clocks differ",
        Weight.WARNING,
        "the clock of {subject} is {skew} {way} {reference}",
        "timedatectl set-ntp true (on {subject}; see chronyc tracking)",
        (
            "A node's clock is wrong: certificates and tokens may be refused, flows have "
            "wrong times."
        ),
    ),
    Kind(
        "CRN-312",
        "ClockFree",
        "clock is not synchronised",
        Weight.NOTE,
        "the kernel of {node} says that its clock is not synchronised",
        "timedatectl set-ntp true (on {node})",
        "Nothing keeps the node's clock right. It may be right all the same.",
    ),
    Kind(
        "CRN-314",
        "MemoryLow",
        "memory is nearly used up",
        Weight.WARNING,
        "{node} has {free} of {total} MB of memory left",
        "kubectl top pods -A --sort-by=memory",
        "The kernel will soon end processes.",
    ),
    Kind(
        "CRN-315",
        "RouteToNodeMissing",
        "route to another node's pods is missing",
        Weight.ERROR,
        "{node} has no route to {network}, the pods of {peer}",
        (
            "kubectl -n kube-system delete pod {pod} (its agent writes them anew; then look "
            "who removes them)"
        ),
        "Pods of this node do not reach pods of another.",
    ),
    Kind(
        "CRN-316",
        "UplinkGone",
        "uplink is not there",
        Weight.ERROR,
        "no interface of {node} has its address {address}",
        "ip -br address (on {node})",
        "The node cannot be reached at its address; its data plane stands at no link.",
    ),
    Kind(
        "CRN-317",
        "OneFamilyOnly",
        "nodes reach each other by one IP version only",
        Weight.ERROR,
        "{node} reaches {peer} over {works}, and not over {fails} ({address})",
        "ip -6 route get {address} (on {node}; then: ip -6 neigh show)",
        "Connections over the other IP version hang until they time out.",
    ),
    Kind(
        "CRN-320",
        "OverlaySilent",
        "pods of a node on another subnet are not reached",
        Weight.ERROR,
        (
            "{node} reaches {peer} and none of its pods ({address}): what the overlay sends does "
            "not arrive"
        ),
        "nft list ruleset",
        (
            "Nodes on different subnets send packets between their pods in VXLAN. The nodes reach "
            "each other, their pods do not."
        ),
    ),
    Kind(
        "CRN-313",
        "KernelOld",
        "kernel lacks a feature",
        Weight.ERROR,
        "{node} runs kernel {kernel}, which lacks what Cairn needs: {reason}",
        "kubectl get nodes -o wide (install a kernel of 6.6 or later on {node})",
        "The agent does not start there, or ends at once.",
    ),
)
