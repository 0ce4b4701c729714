"""Which of a pod's labels say what it is, and stay the same.

labels  ->  the few by which a person would select it
"""

from collections.abc import Mapping

PREFERRED = ("app.kubernetes.io/name", "k8s-app", "app")
"""Labels that name a workload, the most deliberate first."""
FINER = ("tier", "app.kubernetes.io/component", "component", "role", "app.kubernetes.io/instance")
"""Labels that tell parts of one workload apart."""
_PASSING = (
    "pod-template-hash",
    "controller-revision-hash",
    "pod-template-generation",
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "job-name",
    "helm.sh/chart",
    "app.kubernetes.io/version",
    "version",
)


def lasting_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels without those that change with every rollout."""
    return {key: value for key, value in sorted(labels.items()) if key not in _PASSING}


def stable_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels by which a person would select such pods."""
    lasting = lasting_labels(labels)
    name = next((key for key in PREFERRED if key in lasting), None)
    chosen = [key for key in (name, *FINER) if key is not None and key in lasting]
    if chosen:
        return {key: lasting[key] for key in chosen[:2]}
    return lasting
