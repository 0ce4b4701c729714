"""What nearly every pod needs: the cluster's DNS, the API server, the kubelet's probes.

World  ->  Ends
"""

from cairn.diagnose.policy.end import End
from cairn.diagnose.policy.ends import NoSuchEnd, find_ends, pod_end
from cairn.diagnose.policy.pod import would_be_pod
from cairn.diagnose.policy.world import World
from cairn.net import Protocol

DNS_SERVICE = "kube-system/kube-dns"
DNS_LABELS = {"k8s-app": "kube-dns"}
DNS_PORTS = ((int(Protocol.UDP), 53), (int(Protocol.TCP), 53))


def dns_ends(world: World) -> list[End]:
    """Return the pods of the cluster's DNS, or one that could be."""
    try:
        return find_ends(world, f"svc/{DNS_SERVICE}")
    except NoSuchEnd:
        pass
    found = [
        pod
        for pod in world.pods.values()
        if pod.key.namespace == "kube-system" and DNS_LABELS.items() <= pod.workload.labels.items()
    ]
    if found:
        return [pod_end(world, found[0])]
    pod = would_be_pod("kube-system", "kube-dns", DNS_LABELS)
    if "kube-system" not in world.namespaces:
        name = {"kubernetes.io/metadata.name": "kube-system"}
        world.engine.put_namespace("kube-system", name)
    world.engine.put_pod(pod.workload)
    return [pod_end(world, pod)]
