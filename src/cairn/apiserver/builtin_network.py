"""Schemas of Services, endpoints and network policies.

    (nothing)  ->  SERVICE, ENDPOINT_SLICE, ENDPOINTS, NETWORK_POLICY

Not here    Defaults (builtin_service_defaults) and rules (builtin_service_rules) of Services.
"""

from cairn.apiserver.builtin_meta import CONDITIONS, LABEL_SELECTOR, OBJECT_REFERENCE
from cairn.apiserver.notation import (
    Schema,
    anything,
    boolean,
    int_or_string,
    integer,
    list_of,
    map_of,
    obj,
    string,
)

_PROTOCOL = string("Transport protocol.", enum=("TCP", "UDP", "SCTP"), default="TCP")

_SERVICE_PORT = obj(
    "One port of the Service.",
    title="ServicePort",
    required=("port",),
    name=string("Name of the port; needed when there are several."),
    protocol=_PROTOCOL,
    port=integer("Port that clients connect to.", low=1, high=65535),
    targetPort=int_or_string("Port of the pods, or its name; the same as port if not set."),
    nodePort=integer("Port on every node that leads here too, 30000 to 32767.", low=0, high=65535),
    appProtocol=string("Protocol above the transport, as http or kubernetes.io/h2c."),
)
_FAMILY = string("An address family.", enum=("IPv4", "IPv6"))
_SERVICE_SPEC = obj(
    "How clients reach a set of pods under one address.",
    title="ServiceSpec",
    type=string(
        "How far the Service reaches: inside the cluster (ClusterIP), by a port of every node "
        "(NodePort), by an address of its own that is announced to the network (LoadBalancer), "
        "or as another DNS name (ExternalName).",
        enum=("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
        default="ClusterIP",
    ),
    selector=map_of(string(), "Labels of the pods that serve; none if endpoints are made by hand."),
    ports=list_of(_SERVICE_PORT, "Ports of the Service.", merge="port", keys=("port", "protocol")),
    clusterIP=string("Address inside the cluster; None for no address but those of the pods."),
    clusterIPs=list_of(string(), "Addresses inside the cluster, one per family."),
    ipFamilies=list_of(_FAMILY, "Families of the addresses, the first one leading."),
    ipFamilyPolicy=string(
        "How many families the Service has.",
        enum=("SingleStack", "PreferDualStack", "RequireDualStack"),
    ),
    externalIPs=list_of(string(), "Addresses that reach the nodes by other means."),
    externalName=string("The name that an ExternalName Service stands for."),
    loadBalancerIP=string("Address asked for; a LoadBalancer gets it if a pool holds it."),
    loadBalancerClass=string("Who is to serve this LoadBalancer; anyone if not set."),
    loadBalancerSourceRanges=list_of(string(), "Only these networks may connect."),
    allocateLoadBalancerNodePorts=boolean("Whether a LoadBalancer has node ports as well."),
    externalTrafficPolicy=string(
        "Whether nodes hand traffic from outside to pods of other nodes.",
        enum=("Cluster", "Local"),
    ),
    internalTrafficPolicy=string(
        "Whether nodes hand traffic from inside to pods of other nodes.", enum=("Cluster", "Local")
    ),
    healthCheckNodePort=integer("Port at which a Local LoadBalancer tells who has pods."),
    publishNotReadyAddresses=boolean("Whether pods that are not ready count too."),
    sessionAffinity=string(
        "Whether one client always reaches the same pod.",
        enum=("None", "ClientIP"),
        default="None",
    ),
    sessionAffinityConfig=obj(
        "Settings of the affinity.",
        title="SessionAffinityConfig",
        clientIP=obj(
            "Affinity by the client's address.",
            timeoutSeconds=integer("Seconds without traffic until it ends.", low=1, high=86400),
        ),
    ),
    trafficDistribution=string(
        "Preference for near pods: PreferSameZone, as PreferClose, or PreferSameNode."
    ),
)
SERVICE = obj(
    "An address under which a set of pods is reached.",
    spec=_SERVICE_SPEC,
    status=obj(
        "What the Service has been given.",
        title="ServiceStatus",
        conditions=CONDITIONS,
        loadBalancer=obj(
            "Where a LoadBalancer is reached.",
            title="LoadBalancerStatus",
            ingress=list_of(
                obj(
                    "One address or name.",
                    title="LoadBalancerIngress",
                    ip=string("The address."),
                    hostname=string("The name."),
                    ipMode=string("VIP or Proxy."),
                    ports=list_of(anything(), "State of each port."),
                ),
                "Addresses and names.",
            ),
        ),
    ),
)


def _named(title: str, what: str) -> Schema:
    return obj(f"One {what}.", title=title, required=("name",), name=string(f"Name of the {what}."))


_CONDITIONS = obj(
    "State of the endpoint.",
    title="EndpointConditions",
    ready=boolean("Whether it takes new connections."),
    serving=boolean("Whether it would be ready if it were not ending."),
    terminating=boolean("Whether it is ending."),
)
_ENDPOINT = obj(
    "One backend, usually a pod.",
    title="Endpoint",
    required=("addresses",),
    addresses=list_of(string(), "Addresses of the backend; the first one counts."),
    conditions=_CONDITIONS,
    hostname=string("Host name of the backend."),
    nodeName=string("Node of the backend."),
    zone=string("Zone of the node."),
    targetRef=OBJECT_REFERENCE,
    hints=obj(
        "For whom the backend is meant.",
        title="EndpointHints",
        forZones=list_of(_named("ForZone", "zone"), "Zones whose clients should use it."),
        forNodes=list_of(_named("ForNode", "node"), "Nodes whose clients should use it."),
    ),
    deprecatedTopology=map_of(string()),
)
_SLICE_PORT = obj(
    "One port of every backend of the slice.",
    title="EndpointPort",
    name=string("Name of the Service's port."),
    port=integer("Port number.", low=0, high=65535),
    protocol=_PROTOCOL,
    appProtocol=string("Protocol above the transport."),
)
ENDPOINT_SLICE = obj(
    "A part of a Service's backends.",
    required=("addressType", "endpoints"),
    addressType=string("Sort of the addresses.", enum=("IPv4", "IPv6", "FQDN")),
    endpoints=list_of(_ENDPOINT, "The backends."),
    ports=list_of(_SLICE_PORT, "Ports that all of them have."),
)
_ADDRESS = obj(
    "One backend.",
    title="EndpointAddress",
    required=("ip",),
    ip=string("Its address."),
    hostname=string("Its host name."),
    nodeName=string("Its node."),
    targetRef=OBJECT_REFERENCE,
)
ENDPOINTS = obj(
    "The backends of a Service in one object; EndpointSlices have taken its place.",
    subsets=list_of(
        obj(
            "Backends that have the same ports.",
            title="EndpointSubset",
            addresses=list_of(_ADDRESS, "Backends that are ready."),
            notReadyAddresses=list_of(_ADDRESS, "Backends that are not."),
            ports=list_of(_SLICE_PORT, "Ports that all of them have."),
        ),
        "Groups of backends.",
    ),
)

_PEER = obj(
    "Who is meant: pods by label, or a network.",
    title="NetworkPolicyPeer",
    podSelector=LABEL_SELECTOR,
    namespaceSelector=LABEL_SELECTOR,
    ipBlock=obj(
        "A network.",
        title="IPBlock",
        required=("cidr",),
        cidr=string("The network, as 192.168.0.0/16."),
        except_=list_of(string(), "Parts of it that are not meant."),
    ),
)
_POLICY_PORT = obj(
    "A port or a range of ports.",
    title="NetworkPolicyPort",
    protocol=_PROTOCOL,
    port=int_or_string("Number or name; every port if not set."),
    endPort=integer("Last port of a range.", low=1, high=65535),
)
NETWORK_POLICY = obj(
    "Which traffic pods may have; what no policy of theirs allows is dropped.",
    spec=obj(
        "The pods and what they may do.",
        title="NetworkPolicySpec",
        podSelector=LABEL_SELECTOR,
        policyTypes=list_of(string(enum=("Ingress", "Egress")), "Directions it is about."),
        ingress=list_of(
            obj(
                "Allowed traffic to the pods.",
                title="NetworkPolicyIngressRule",
                from_=list_of(_PEER, "From whom; anyone if empty."),
                ports=list_of(_POLICY_PORT, "To which ports; all if empty."),
            ),
            "Allowed traffic to the pods.",
        ),
        egress=list_of(
            obj(
                "Allowed traffic from the pods.",
                title="NetworkPolicyEgressRule",
                to=list_of(_PEER, "To whom; anyone if empty."),
                ports=list_of(_POLICY_PORT, "To which ports; all if empty."),
            ),
            "Allowed traffic from the pods.",
        ),
    ),
    status=anything("Conditions."),
)
