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
    Kind(
        "CRN-802",
        "CertificateEnded",
        "certificate has ended",
        Weight.ERROR,
        "the {certificate} ended {ago} ago",
        (
            "kubeadm certs renew all (on the control plane; `cairn api` renews its own when it "
            "starts; of a Secret: put a new one into it)"
        ),
        "Nobody trusts it any more: connections that show it are refused.",
    ),
    Kind(
        "CRN-803",
        "CertificateEnding",
        "certificate ends within a week",
        Weight.ERROR,
        "the {certificate} ends in {left}",
        (
            "kubeadm certs renew all (on the control plane; `cairn api` renews its own when it "
            "starts; of a Secret: put a new one into it)"
        ),
        "In a few days connections that show it will be refused.",
    ),
    Kind(
        "CRN-804",
        "CertificateEndsSoon",
        "certificate ends within a month",
        Weight.WARNING,
        "the {certificate} ends in {left}",
        (
            "kubeadm certs renew all (on the control plane; `cairn api` renews its own when it "
            "starts; of a Secret: put a new one into it)"
        ),
        "There is time left to renew it.",
    ),
    Kind(
        "CRN-805",
        "CertificateEarly",
        "certificate is not yet valid",
        Weight.ERROR,
        "the {certificate} is valid only in {left}",
        (
            "timedatectl set-ntp true (where it was made, and where it is looked at: one of the "
            "clocks is wrong)"
        ),
        "Connections that show it are refused until then.",
    ),
    Kind(
        "CRN-806",
        "CertificateName",
        "certificate is for another name",
        Weight.ERROR,
        "the {certificate} is not for {wanted}, by which it is asked; it is for {names}",
        (
            "kubectl config view --minify (its server must be one of the names; or make the "
            "certificate for {wanted}: kubeadm init phase certs apiserver --apiserver-cert-extra-"
            "sans={wanted})"
        ),
        "Clients refuse the connection: they were shown somebody else's certificate.",
    ),
    Kind(
        "CRN-807",
        "CertificateUnreadable",
        "certificate cannot be read",
        Weight.WARNING,
        "the {certificate} cannot be read: {reason}",
        "openssl x509 -noout -dates -in FILE (or: kubectl get secrets -n NAMESPACE NAME)",
        "Who needs it will fail when it starts the next time.",
    ),
)
