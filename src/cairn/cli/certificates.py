"""What certificates say: valid from when to when, for which names.

    PEM, a kubeconfig, a URL, v1.Secret  ->  CertificateFact

Invariants  What cannot be read is told of in the fact's `error`; nothing is raised.
            Keys are never looked at.
Standards   RFC 5280 s4.1.2.5, s4.2.1.6; Kubernetes kubeconfig v1
"""

import base64
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml
from cryptography import x509

from cairn.diagnose.process_facts import CertificateFact
from cairn.drive.kubeconfig import ACCOUNT
from cairn.kube.metadata import Object, key_of

PATIENCE_S = 2.0
IN_SECRETS = ("tls.crt", "ca.crt")


def own_certificates() -> tuple[CertificateFact, ...]:
    """Return those with which this process meets the API server."""
    path = os.environ.get("KUBECONFIG")
    if path:
        return tuple(of_kubeconfig(Path(path)))
    authority = ACCOUNT / "ca.crt"
    return (of_file(f"authority in {authority}", authority),) if authority.exists() else ()


def of_kubeconfig(path: Path) -> Iterator[CertificateFact]:
    """Yield the certificates in a kubeconfig: of authorities and of users."""
    try:
        config = yaml.safe_load(path.read_text()) or {}
        sections = [
            (f"authority of cluster {one.get('name')} in {path}", "certificate-authority",
             one.get("cluster") or {})
            for one in config.get("clusters") or ()
        ] + [
            (f"client certificate of {one.get('name')} in {path}", "client-certificate",
             one.get("user") or {})
            for one in config.get("users") or ()
        ]  # fmt: skip
    except (OSError, ValueError, yaml.YAMLError, AttributeError) as error:
        yield CertificateFact(str(path), error=_words(error))
        return
    for name, field, section in sections:
        if inline := section.get(f"{field}-data"):
            yield of_pem(name, inline, encoded=True)
        elif section.get(field):
            yield of_file(name, path.parent / str(section[field]))


def of_file(name: str, path: Path) -> CertificateFact:
    """Return the first certificate of a file."""
    try:
        return of_pem(name, path.read_bytes())
    except OSError as error:
        return CertificateFact(name, error=_words(error))


def of_secret(secret: Object) -> Iterator[CertificateFact]:
    """Yield the certificates of a Secret."""
    data: dict[str, Any] = secret.get("data") or {}
    for entry in IN_SECRETS:
        if entry in data:
            yield of_pem(f"{entry} of Secret {key_of(secret)}", data[entry], encoded=True)


def of_server(url: str) -> CertificateFact | None:
    """Return what a server shows who connects; None where there is no TLS, or no answer."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It is looked at, and nothing is told to it: whether it is trusted does not matter here.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, port = parts.hostname, parts.port or 443
    try:
        with (
            socket.create_connection((host, port), PATIENCE_S) as plain,
            context.wrap_socket(plain, server_hostname=host) as secure,
        ):
            octets = secure.getpeercert(binary_form=True)
    except OSError:
        return None
    name = f"certificate of the API server at {host}:{port}"
    if not octets:
        return CertificateFact(name, error="it shows none")
    return _told(name, x509.load_der_x509_certificate(octets), host)


def of_pem(name: str, pem: str | bytes, *, encoded: bool = False) -> CertificateFact:
    """Return the first certificate of PEM text, which may be in base64 once more."""
    try:
        octets = base64.b64decode(pem) if encoded else pem
        if isinstance(octets, str):
            octets = octets.encode()
        return _told(name, x509.load_pem_x509_certificate(octets))
    except ValueError as error:
        return CertificateFact(name, error=_words(error))


def _told(name: str, certificate: x509.Certificate, wanted: str = "") -> CertificateFact:
    return CertificateFact(
        name,
        certificate.not_valid_before_utc.timestamp(),
        certificate.not_valid_after_utc.timestamp(),
        _names(certificate),
        wanted,
    )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    kind = x509.SubjectAlternativeName
    try:
        names = certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    hosts = names.get_values_for_type(x509.DNSName)
    return (*hosts, *map(str, names.get_values_for_type(x509.IPAddress)))


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return " ".join(str(error).split())[:120] or type(error).__name__
