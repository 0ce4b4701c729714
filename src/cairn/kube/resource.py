"""The resources that Cairn speaks of, as their REST names.

    kind  ->  Resource(group, version, plural)  ->  path

Standards   Kubernetes API conventions, "Resources"
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API."""

    group: str
    """API group; empty for the core group."""
    version: str
    """Version that we speak."""
    plural: str
    """Name in paths."""
    kind: str
    """Name in objects."""
    namespaced: bool = True
    """Whether objects live in a namespace."""

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, sub: str = "") -> str:
        """Return the URL path of the collection, or of one object and its subresource."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            root += f"/namespaces/{namespace}"
        root += f"/{self.plural}"
        if name:
            root += f"/{name}"
        return f"{root}/{sub}" if sub else root


NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
PODS = Resource("", "v1", "pods", "Pod")
SERVICES = Resource("", "v1", "services", "Service")
ENDPOINTS = Resource("", "v1", "endpoints", "Endpoints")
CONFIG_MAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
EVENTS = Resource("", "v1", "events", "Event")
ENDPOINT_SLICES = Resource("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
LEASES = Resource("coordination.k8s.io", "v1", "leases", "Lease")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
REPLICA_SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
DAEMON_SETS = Resource("apps", "v1", "daemonsets", "DaemonSet")
CONTROLLER_REVISIONS = Resource("apps", "v1", "controllerrevisions", "ControllerRevision")
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
CRDS = Resource(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
)

POOLS = Resource(
    "cilium.io",
    "v2alpha1",
    "ciliumloadbalancerippools",
    "CiliumLoadBalancerIPPool",
    namespaced=False,
)
BGP_PEERING_POLICIES = Resource(
    "cilium.io",
    "v2alpha1",
    "ciliumbgppeeringpolicies",
    "CiliumBGPPeeringPolicy",
    namespaced=False,
)
BGP_NODE_CONFIGS = Resource(
    "cilium.io", "v2alpha1", "ciliumbgpnodeconfigs", "CiliumBGPNodeConfig", namespaced=False
)
BGP_ADVERTISEMENTS = Resource(
    "cilium.io", "v2alpha1", "ciliumbgpadvertisements", "CiliumBGPAdvertisement", namespaced=False
)
L2_POLICIES = Resource(
    "cilium.io",
    "v2alpha1",
    "ciliuml2announcementpolicies",
    "CiliumL2AnnouncementPolicy",
    namespaced=False,
)
CILIUM_NODES = Resource("cilium.io", "v2", "ciliumnodes", "CiliumNode", namespaced=False)
CILIUM_ENDPOINTS = Resource("cilium.io", "v2", "ciliumendpoints", "CiliumEndpoint")

CIDR_GROUPS = Resource("cilium.io", "v2", "ciliumcidrgroups", "CiliumCIDRGroup", namespaced=False)

NETWORK_POLICY_KINDS = (
    NETWORK_POLICIES,
    Resource("cilium.io", "v2", "ciliumnetworkpolicies", "CiliumNetworkPolicy"),
    Resource(
        "cilium.io",
        "v2",
        "ciliumclusterwidenetworkpolicies",
        "CiliumClusterwideNetworkPolicy",
        namespaced=False,
    ),
)
CLUSTER_NETWORK_POLICIES = Resource(
    "policy.networking.k8s.io",
    "v1alpha2",
    "clusternetworkpolicies",
    "ClusterNetworkPolicy",
    namespaced=False,
)
POLICY_KINDS = (*NETWORK_POLICY_KINDS, CLUSTER_NETWORK_POLICIES)
"""The languages of network policy (kube.policy.read)."""


def _of_cluster(version: str, plural: str, kind: str) -> Resource:
    return Resource("cilium.io", version, plural, kind, namespaced=False)


STORED_KINDS = (
    Resource("cilium.io", "v2", "ciliumenvoyconfigs", "CiliumEnvoyConfig"),
    _of_cluster("v2", "ciliumclusterwideenvoyconfigs", "CiliumClusterwideEnvoyConfig"),
    _of_cluster("v2alpha1", "ciliumclustermeshes", "CiliumClusterMesh"),
    _of_cluster("v2alpha1", "ciliumbgpclusterconfigs", "CiliumBGPClusterConfig"),
    _of_cluster("v2alpha1", "ciliumbgppeerconfigs", "CiliumBGPPeerConfig"),
    _of_cluster("v2alpha1", "ciliumbgpnodeconfigoverrides", "CiliumBGPNodeConfigOverride"),
    CIDR_GROUPS,
)
"""Kinds that users write and no part of this version acts on (kube.unsupported tells of them)."""
