"""The step about the target's name: what it is looked up as, by whom.

Question, Facts  ->  Step
"""

import difflib

from cairn.diagnose.why import kinds
from cairn.diagnose.why.facts import Facts
from cairn.diagnose.why.objects import is_ready, pod_trouble, pods_of_service
from cairn.diagnose.why.question import Question, Role
from cairn.diagnose.why.step import Step, broken, found, ok, unknown
from cairn.kube.metadata import Key

CLUSTER_DNS = Key("kube-system", "kube-dns")


def name_step(asked: Question, facts: Facts) -> Step | None:
    """Whether the target's name leads to an address."""
    target = asked.target
    if target.role is not Role.NAME:
        if target.role is Role.SERVICE and "." in target.text and not target.addresses:
            return ok(f"{target.text} is Service {target.key}")
        return None
    lookup = facts.lookup
    if asked.client.role is Role.POD and (trouble := _cluster_dns(asked, facts)):
        return trouble
    if lookup is None:
        return unknown(f"{target.name} was not looked up (--probe looks it up from the client)")
    if lookup.addresses:
        return ok(f"{target.name} is {', '.join(lookup.addresses)}, says {lookup.server}")
    values: dict[str, object] = {"name": target.name, "client": asked.client.text}
    values |= {"server": lookup.server, "reason": lookup.error}
    if "no answer" in lookup.error or "timed out" in lookup.error:
        values["mend"] = "kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide"
        return broken(found(kinds.DNS_UNANSWERED, f"name {target.name}", values))
    services = facts.world.services
    if asked.client.role is Role.POD and lookup.error.startswith("the answer is"):
        values |= {"nodes": asked.client.text, "address": lookup.server}
        return broken(found(kinds.CLUSTER_DNS_REFUSES, f"name {target.name}", values))
    names = [f"{key.name}.{key.namespace}.svc.cluster.local" for key in services]
    near = difflib.get_close_matches(target.name, names, n=1, cutoff=0.6)
    values["mend"] = f"cairn why {asked.client.text} {near[0]}" if near else "look at its spelling"
    return broken(found(kinds.NAME_UNKNOWN, f"name {target.name}", values))


def _cluster_dns(asked: Question, facts: Facts) -> Step | None:
    """Return that the cluster's DNS has no ready pod."""
    service = facts.world.services.get(CLUSTER_DNS)
    if service is None:
        return None
    pods = pods_of_service(facts.world, service)
    if any(map(is_ready, pods)):
        return None
    reason = f"none of its {len(pods)} pods is ready"
    if pods:
        reason += f": {pod_trouble(pods[0]).text}"
    address = service.cluster_ips[0] if service.cluster_ips else ""
    values = {"nodes": asked.client.text, "address": address, "reason": reason}
    return broken(found(kinds.CLUSTER_DNS_SILENT, "cluster DNS", values))
