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
        "",
    ),
    Kind(
        "CRN-802",
        "EnvoyRefused",
        "Envoy refuses its configuration",
        Weight.ERROR,
        "Envoy of {node} refuses: {reason}",
        "kubectl -n kube-system logs {pod} -c proxy --tail=20",
        "",
    ),
    Kind(
        "CRN-803",
        "CertificateEnded",
        "certificate has ended",
        Weight.ERROR,
        "the certificate {subject} ended on {end}",
        "{renew}",
        "",
    ),
    Kind(
        "CRN-804",
        "CertificateEnds",
        "certificate ends soon",
        Weight.WARNING,
        "the certificate {subject} ends on {end}, in {days} days",
        "{renew}",
        "",
    ),
    Kind(
        "CRN-805",
        "CertificateUnreadable",
        "certificate cannot be read",
        Weight.WARNING,
        "the certificate {subject} cannot be read: {reason}",
        "{renew}",
        "",
    ),
)
