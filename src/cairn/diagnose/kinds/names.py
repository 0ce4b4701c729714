"""Findings of area 7: DNS and names.

nothing  ->  rows of the registry
"""

from cairn.diagnose.finding import Kind, Weight

NAMES = (
    Kind(
        "CRN-701",
        "ClusterDnsSilent",
        "cluster DNS does not answer",
        Weight.ERROR,
        "{nodes} get no answer from the cluster DNS {address}: {reason}",
        "kubectl -n kube-system get pods -l k8s-app=kube-dns -o wide",
        "Names do not resolve in pods.",
    ),
    Kind(
        "CRN-702",
        "ClusterDnsRefuses",
        "cluster DNS answers with an error",
        Weight.ERROR,
        "the cluster DNS {address} answers {nodes} with {reason}",
        "kubectl -n kube-system logs deploy/kube-dns --tail=20",
        "The cluster DNS answers, and not with what it should.",
    ),
    Kind(
        "CRN-703",
        "DnsProxyDown",
        "DNS proxy is down while policies need it",
        Weight.ERROR,
        "the DNS proxy of {node} does not answer, and {count} places need it: {reason}",
        "kubectl -n kube-system logs {pod} -c dns --tail=20",
        (
            "Pods whose policies name DNS names cannot resolve anything: their queries are "
            "closed until the proxy is back."
        ),
    ),
    Kind(
        "CRN-704",
        "DnsProxyIdle",
        "DNS proxy is down",
        Weight.WARNING,
        "the DNS proxy of {node} does not answer; no policy needs it now: {reason}",
        "kubectl -n kube-system logs {pod} -c dns --tail=20",
        "The DNS proxy is down; nothing needs it at present.",
    ),
    Kind(
        "CRN-706",
        "DnsProxyRefuses",
        "DNS proxy refuses questions",
        Weight.NOTE,
        "the DNS proxy of {node} refused {refused} of {asked} questions since it started",
        "cairn flows --verdict dropped --protocol udp --port 53 --since 10m",
        "Pods asked for names that no rule of theirs allows; they were told REFUSED.",
    ),
    Kind(
        "CRN-705",
        "ClusterDnsMissing",
        "cluster without a DNS Service",
        Weight.WARNING,
        "there is no Service kube-system/kube-dns, where pods ask for names",
        "kubectl -n kube-system get services -o wide",
        "No name resolves in pods, and rules by name learn nothing.",
    ),
)
