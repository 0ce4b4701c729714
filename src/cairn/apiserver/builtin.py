"""The table of the kinds that the API server has without any CustomResourceDefinition.

    (nothing)  ->  BUILTIN: tuple[Kind, ...]

Not here    Schemas and rules stand with their group (builtin_*), columns in columns*.
"""

import functools
from typing import Any

from cairn.apiserver import builtin_cluster as cluster
from cairn.apiserver import builtin_network as network
from cairn.apiserver import builtin_network_rules as network_rules
from cairn.apiserver import builtin_workload as workload
from cairn.apiserver import columns, crd
from cairn.apiserver.builtin_pod import POD
from cairn.apiserver.builtin_pod_rules import complete_pod, pod_errors
from cairn.apiserver.builtin_service_defaults import complete_service
from cairn.apiserver.builtin_service_rules import service_errors
from cairn.apiserver.columns_pod import POD as POD_COLUMNS
from cairn.apiserver.kind import Kind, Scale
from cairn.apiserver.notes import template_warnings, warnings
from cairn.apiserver.policy_rules import policy_errors

_POD_SUBRESOURCES = frozenset(
    {"status", "log", "exec", "attach", "portforward", "binding", "eviction"}
)


def _kind(
    group: str, kind: str, plural: str, short: str = "", *, namespaced: bool = True, **more: Any
) -> Kind:
    """Return a kind of version v1 with the subresources `sub`."""
    sub = more.pop("sub", ())
    return Kind(
        group, "v1", kind, plural, kind.lower(), namespaced, tuple(short.split()),
        subresources=frozenset(sub), **more,
    )  # fmt: skip


_core = functools.partial(_kind, "")
_apps = functools.partial(_kind, "apps")
_rbac = functools.partial(_kind, "rbac.authorization.k8s.io", has_generation=False, warn=warnings)
_ALL = ("all",)

BUILTIN: tuple[Kind, ...] = (
    _core(
        "Namespace", "namespaces", "ns", namespaced=False, sub=("status", "finalize"),
        has_generation=False, schema=cluster.NAMESPACE, columns=columns.NAMESPACE,
        default=cluster.complete_namespace,
    ),
    _core(
        "Node", "nodes", "no", namespaced=False, sub=("status",), has_generation=False,
        schema=cluster.NODE, columns=columns.NODE,
    ),
    _core(
        "Pod", "pods", "po", categories=_ALL, sub=_POD_SUBRESOURCES, schema=POD,
        columns=POD_COLUMNS, default=complete_pod, validate=pod_errors, warn=warnings,
    ),
    _core(
        "Service", "services", "svc", categories=_ALL, sub=("status",), has_generation=False,
        schema=network.SERVICE, columns=columns.SERVICE, default=complete_service,
        validate=service_errors, warn=warnings,
    ),
    _core(
        "Endpoints", "endpoints", "ep", has_generation=False, schema=network.ENDPOINTS,
        columns=columns.ENDPOINTS,
    ),
    _core(
        "ConfigMap", "configmaps", "cm", has_generation=False, schema=cluster.CONFIG_MAP,
        columns=columns.CONFIG_MAP, validate=cluster.data_errors, warn=warnings,
    ),
    _core(
        "Secret", "secrets", has_generation=False, schema=cluster.SECRET, columns=columns.SECRET,
        default=cluster.complete_secret, validate=cluster.data_errors,
    ),
    _core(
        "ServiceAccount", "serviceaccounts", "sa", has_generation=False,
        schema=cluster.SERVICE_ACCOUNT, columns=columns.SERVICE_ACCOUNT,
    ),
    _core(
        "Event", "events", "ev", has_generation=False, schema=cluster.EVENT,
        columns=columns.EVENT, default=cluster.complete_event,
    ),
    _apps(
        "Deployment", "deployments", "deploy", categories=_ALL, sub=("status", "scale"),
        scale=Scale(), schema=workload.DEPLOYMENT, columns=columns.DEPLOYMENT,
        default=workload.complete_deployment, validate=workload.workload_errors,
        warn=template_warnings,
    ),
    _apps(
        "ReplicaSet", "replicasets", "rs", categories=_ALL, sub=("status", "scale"),
        scale=Scale(), schema=workload.REPLICA_SET, columns=columns.REPLICA_SET,
        default=workload.complete_replica_set, validate=workload.workload_errors,
        warn=template_warnings,
    ),
    _apps(
        "DaemonSet", "daemonsets", "ds", categories=_ALL, sub=("status",),
        schema=workload.DAEMON_SET, columns=columns.DAEMON_SET,
        default=workload.complete_daemon_set, validate=workload.workload_errors,
        warn=template_warnings,
    ),
    _apps(
        "ControllerRevision", "controllerrevisions", has_generation=False,
        schema=workload.CONTROLLER_REVISION, columns=columns.CONTROLLER_REVISION,
    ),
    _kind(
        "discovery.k8s.io", "EndpointSlice", "endpointslices", schema=network.ENDPOINT_SLICE,
        columns=columns.ENDPOINT_SLICE, validate=network_rules.endpoint_slice_errors,
    ),
    _kind(
        "coordination.k8s.io", "Lease", "leases", has_generation=False, schema=cluster.LEASE,
        columns=columns.LEASE,
    ),
    _kind(
        "networking.k8s.io", "NetworkPolicy", "networkpolicies", "netpol",
        schema=network.NETWORK_POLICY, columns=columns.NETWORK_POLICY,
        validate=policy_errors, warn=warnings,
    ),
    _rbac("Role", "roles", schema=cluster.ROLE, columns=columns.CREATED_AT),
    _rbac(
        "ClusterRole", "clusterroles", namespaced=False, schema=cluster.CLUSTER_ROLE,
        columns=columns.CREATED_AT,
    ),
    _rbac(
        "RoleBinding", "rolebindings", schema=cluster.ROLE_BINDING, columns=columns.ROLE_BINDING,
        validate=cluster.role_binding_errors,
    ),
    _rbac(
        "ClusterRoleBinding", "clusterrolebindings", namespaced=False,
        schema=cluster.ROLE_BINDING, columns=columns.ROLE_BINDING,
        validate=cluster.role_binding_errors,
    ),
    _kind(
        "apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions",
        "crd crds", namespaced=False, categories=("api-extensions",), sub=("status",),
        schema=crd.CUSTOM_RESOURCE_DEFINITION, columns=columns.CREATED_AT,
        default=crd.complete_crd, validate=crd.crd_errors,
    ),
)  # fmt: skip
