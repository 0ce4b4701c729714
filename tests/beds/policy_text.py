"""Policies as YAML, and the short ways to write what they are read as."""

from typing import Any

import yaml

from cairn.kube.policy.read import read_policies
from cairn.kube.policy.rule import NAMESPACE, InvalidPolicy, LabelPeer, Policy
from cairn.kube.selector import Operator, Requirement, Selector

API_VERSIONS = {
    "NetworkPolicy": "networking.k8s.io/v1",
    "ClusterNetworkPolicy": "policy.networking.k8s.io/v1alpha2",
    "CiliumNetworkPolicy": "cilium.io/v2",
    "CiliumClusterwideNetworkPolicy": "cilium.io/v2",
}
OF_CLUSTER = ("ClusterNetworkPolicy", "CiliumClusterwideNetworkPolicy")


def policy_object(kind: str, spec: str | dict[str, Any], **annotations: str) -> dict[str, Any]:
    """Return an object of namespace `shop`, or of the cluster, with a spec as YAML."""
    metadata: dict[str, Any] = {"name": "p", "uid": "u", "annotations": annotations}
    if kind not in OF_CLUSTER:
        metadata["namespace"] = "shop"
    found = yaml.safe_load(spec) if isinstance(spec, str) else spec
    return {
        "apiVersion": API_VERSIONS[kind],
        "kind": kind,
        "metadata": metadata,
        "spec": found,
    }


def read_one(kind: str, spec: str | dict[str, Any], **annotations: str) -> Policy:
    """Return the one policy that such an object makes."""
    (policy,) = read_policies(policy_object(kind, spec, **annotations))
    return policy


def refusal(obj: dict[str, Any]) -> tuple[str, str]:
    """Return where and why an object is refused; ("", "") if it is not."""
    try:
        read_policies(obj)
    except InvalidPolicy as error:
        return error.path, error.reason
    return "", ""


def being(**labels: str) -> tuple[Requirement, ...]:
    """Return what equality with labels demands; `__` stands for a dot, `namespace` for its key."""
    return tuple(
        Requirement(
            NAMESPACE if key == "namespace" else key.replace("__", "."),
            Operator.IN,
            frozenset({value}),
        )
        for key, value in labels.items()
    )


def pods(**labels: str) -> LabelPeer:
    """Return pods by labels."""
    return LabelPeer(Selector(being(**labels)))


def shop(**labels: str) -> LabelPeer:
    """Return pods of namespace `shop` by labels."""
    return pods(namespace="shop", **labels)
