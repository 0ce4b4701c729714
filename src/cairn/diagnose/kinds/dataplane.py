"""Findings of area 4: the data plane against what it should be.

nothing  ->  rows of the registry
"""

from cairn.diagnose.finding import Kind, Weight

DATAPLANE = (
    Kind(
        "CRN-401",
        "ProgramDetached",
        "program does not run at its hook",
        Weight.ERROR,
        "{program} is not attached on {node}: its packets pass by the data plane",
        "kubectl -n kube-system delete pod {pod} (the agent attaches it anew)",
        "Packets pass this hook without the data plane: no load balancing, no policy there.",
    ),
    Kind(
        "CRN-402",
        "PinMissing",
        "pin of a program is missing",
        Weight.ERROR,
        "{node} has no pin {program}: the program ends with the agent",
        "kubectl -n kube-system delete pod {pod} (the agent pins it anew)",
        "A program has no pin: it does not run, or ends with the agent.",
    ),
    Kind(
        "CRN-403",
        "PodProgramMissing",
        "pod without its programs",
        Weight.ERROR,
        "{pods} on {node} run without Cairn's program {program}: no policy holds for them",
        "kubectl -n {namespace} delete pod {name}",
        "A pod's packets pass without its policy.",
    ),
    Kind(
        "CRN-404",
        "ServiceDrift",
        "service map is not as it should be",
        Weight.ERROR,
        "{node} has {where} other than desired: {what}",
        "kubectl -n kube-system delete pod {pod} (its agent writes the maps anew)",
        "What the kernel holds for a Service is not what the agent wrote.",
    ),
    Kind(
        "CRN-407",
        "MapFull",
        "map is full",
        Weight.ERROR,
        "map {map} of {node} holds {entries} of {capacity}: {then}",
        "kubectl -n kube-system set env ds/cairn CAIRN_MAP_SIZES={map}={twice}",
        ("Nothing more fits into a map of the data plane; what happens then stands in the cause."),
    ),
    Kind(
        "CRN-408",
        "MapNearlyFull",
        "map is nearly full",
        Weight.WARNING,
        "map {map} of {node} holds {entries} of {capacity}; when it is full: {then}",
        "kubectl -n kube-system set env ds/cairn CAIRN_MAP_SIZES={map}={twice}",
        "At least nine tenths of a map are used.",
    ),
    Kind(
        "CRN-411",
        "WritesFail",
        "agent cannot write what it should",
        Weight.ERROR,
        "the agent of {node} could not write {what}: {reason}",
        "kubectl -n kube-system logs {pod} -c agent --tail=20",
        "The agent tries again and again to write something that the kernel refuses.",
    ),
    Kind(
        "CRN-413",
        "AnsweredTwice",
        "two nodes answer ARP for an address",
        Weight.ERROR,
        "{nodes} all answer ARP or ND for {address}",
        "kubectl get ciliumnodes -o yaml (status.l2; look whether the nodes see each other)",
        ("Two nodes answer ARP for one address: clients may be sent to either, and caches flap."),
    ),
    Kind(
        "CRN-405",
        "VipDrift",
        "address is not in the map of addresses",
        Weight.ERROR,
        "{node} {what}",
        "kubectl -n kube-system delete pod {pod} (its agent writes the maps anew)",
        (
            "Packets for the address are not taken by the data plane: nobody behind it is reached"
            " by this node."
        ),
    ),
    Kind(
        "CRN-406",
        "EndpointDrift",
        "pods and the map of pods do not agree",
        Weight.ERROR,
        "{node} {what}",
        (
            "kubectl -n kube-system delete pod {pod} (its agent wires what is there and forgets "
            "what is gone)"
        ),
        (
            "A pod without its entry gets no packets from other nodes; an entry without a pod "
            "sends packets nowhere."
        ),
    ),
    Kind(
        "CRN-410",
        "NotProven",
        "node could not prove that it serves an address",
        Weight.WARNING,
        "{node} has ready backends of {service} and does not announce its address: {reason}",
        "kubectl -n kube-system logs {pod} -c agent --tail=20",
        "The node does not announce the address; others that serve it do.",
    ),
    Kind(
        "CRN-417",
        "ProgramReplaced",
        "another program runs at Cairn's hook",
        Weight.ERROR,
        "the link {program} of {node} runs the program {other}, which is not Cairn's",
        (
            "kubectl -n kube-system delete pod {pod} (the agent puts its own back; then look who "
            "replaced it: bpftool link)"
        ),
        (
            "Packets go through somebody else's program: no load balancing and no policy there, "
            "or not ours."
        ),
    ),
    Kind(
        "CRN-412",
        "DropsNow",
        "packets are dropped for want of something",
        Weight.WARNING,
        "{node} dropped packets in the last {window}: {drops}",
        "cairn flows --dropped --since 1m --top drops",
        "Connections fail now, and no policy is why.",
    ),
    Kind(
        "CRN-415",
        "XdpOff",
        "XDP program could not be attached",
        Weight.NOTE,
        "{node} runs no XDP program: {reason}",
        (
            "ip link show {link} (on {node}; its driver must have XDP, and no other program may "
            "be there)"
        ),
        "What would be dropped before the kernel takes a packet is dropped a little later, at tcx.",
    ),
)
