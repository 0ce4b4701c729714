"""Keys and tokens that the kubelet hands out or shows, from the lab's PKI.

    Lab.pki  ->  service account tokens, the kubelet's own server certificate

The PKI belongs to the API server's package, which this one must not import: it is found by name,
as the lab finds its other parts.
"""

import importlib
import ssl
from collections.abc import Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol, cast

from cairn.kube.metadata import Object
from cairn.lab.kubelet.volumes import Account

_MODULE = "cairn.api.pki"


class Pki(Protocol):
    """What the kubelet needs of the cluster's PKI."""

    @property
    def ca_cert(self) -> Path:
        """Certificate of the authority."""
        ...

    @property
    def ca_pem(self) -> bytes:
        """The same, read."""
        ...

    def issue_server(self, name: str, sans: list[str]) -> tuple[bytes, bytes]:
        """Return certificate and key of a server."""
        ...

    def service_account_token(self, namespace: str, name: str) -> str:
        """Return a bearer token."""
        ...


def open_pki(folder: Path) -> Pki:
    """Return the cluster's PKI."""
    return cast(Pki, importlib.import_module(_MODULE).ensure_pki(folder))


def account_of(pki: Pki, pod: Object) -> Account | None:
    """Return what a pod proves itself with; None if it does not want to."""
    spec = pod.get("spec") or {}
    if spec.get("automountServiceAccountToken") is False:
        return None
    namespace = pod["metadata"].get("namespace") or "default"
    token = pki.service_account_token(namespace, spec.get("serviceAccountName") or "default")
    return Account(token, pki.ca_pem.decode())


def server_context(pki: Pki, node: str, addresses: Sequence[str]) -> ssl.SSLContext:
    """Return the TLS side of the kubelet's server: only the cluster's own clients get in."""
    certificate, key = pki.issue_server(node, [node, *addresses, "127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # The ssl module takes certificate and key by file name only.
    with NamedTemporaryFile("wb", suffix=".pem") as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)
    context.load_verify_locations(cafile=str(pki.ca_cert))
    context.verify_mode = ssl.CERT_REQUIRED
    return context
