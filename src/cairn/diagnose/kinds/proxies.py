"""Findings of area 8: proxies, TLS, certificates.

nothing  ->  rows of the registry
"""

from cairn.diagnose.finding import Kind, Weight

PROXIES = (
    Kind(
        "CRN-801",
        "EnvoyDown",
        "Envoy is down while policies need it",
        Weight.ERROR,
        "Envoy of {node} does not answer, and {count} places need it: {reason}",
        "kubectl -n kube-system logs {pod} -c proxy --tail=20",
        "Connections with HTTP rules end with PROXY_GONE.",
    ),
)
