"""The certificates and tokens of one cluster, made once and kept in a folder.

    directory  ->  Pki(ca, server and client certificates, token key)

Layout      ca.crt ca.key apiserver.crt apiserver.key kubelet-client.crt kubelet-client.key
            admin.crt admin.key sa.key ; keys are readable by their owner alone
Invariants  What is there and valid is kept: a restart changes no key.
            The server's certificate is made anew when it lacks a name that it needs.
Standards   RFC 5280; Kubernetes "PKI certificates and requirements"
"""

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cairn.api.token import load_key, write_token

VALID = timedelta(days=3650)
CLOCK_SKEW = timedelta(hours=1)
SERVER_NAMES = (
    "localhost",
    "127.0.0.1",
    "::1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
    "10.96.0.1",
    "192.168.1.5",
)
"""What the server is called by default: on this machine, from pods, and in the lab."""


class PkiError(Exception):
    """A file of the folder cannot be used; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Pki:
    """One cluster's certificates."""

    directory: Path
    """The folder that holds them."""

    @property
    def ca_cert(self) -> Path:
        """Certificate of the authority."""
        return self.directory / "ca.crt"

    @property
    def server(self) -> tuple[Path, Path]:
        """Certificate and key of the API server."""
        return self.directory / "apiserver.crt", self.directory / "apiserver.key"

    @property
    def kubelet_client(self) -> tuple[Path, Path]:
        """Certificate and key with which the API server calls kubelets."""
        return self.directory / "kubelet-client.crt", self.directory / "kubelet-client.key"

    @property
    def admin(self) -> tuple[Path, Path]:
        """Certificate and key of the administrator."""
        return self.directory / "admin.crt", self.directory / "admin.key"

    @property
    def ca_pem(self) -> bytes:
        """The authority's certificate as PEM."""
        return self.ca_cert.read_bytes()

    def issue_client(self, name: str, groups: Sequence[str] = ()) -> tuple[bytes, bytes]:
        """Return certificate and key (PEM) of a user with these groups."""
        subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        subject.append(x509.NameAttribute(NameOID.COMMON_NAME, name))
        return self._issue(x509.Name(subject), (), ExtendedKeyUsageOID.CLIENT_AUTH)

    def issue_server(self, name: str, sans: Sequence[str]) -> tuple[bytes, bytes]:
        """Return certificate and key (PEM) of a server with these names and addresses."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return self._issue(subject, sans, ExtendedKeyUsageOID.SERVER_AUTH)

    def service_account_token(self, namespace: str, name: str) -> str:
        """Return a bearer token of a service account."""
        return write_token(load_key(self.directory / "sa.key"), namespace, name)

    def _issue(
        self, subject: x509.Name, sans: Sequence[str], usage: x509.ObjectIdentifier
    ) -> tuple[bytes, bytes]:
        authority, authority_key = self._authority()
        key = ec.generate_private_key(ec.SECP256R1())
        constraint = x509.BasicConstraints(ca=False, path_length=None)
        builder = _builder(subject, authority.subject, key).add_extension(constraint, critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if sans:
            names = [_general_name(san) for san in dict.fromkeys(sans)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _pem(builder.sign(authority_key, hashes.SHA256())), _key_pem(key)

    def _authority(self) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
        key_path = self.directory / "ca.key"
        try:
            authority = x509.load_pem_x509_certificate(self.ca_pem)
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        except (OSError, ValueError) as error:
            raise PkiError(
                f"{self.directory}: ca.crt and ca.key cannot be used ({error}): restore both, or "
                "remove the folder to begin with a new authority"
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise PkiError(f"{key_path}: expected an elliptic-curve key")
        return authority, key


def ensure_pki(directory: Path | str, *, sans: Sequence[str] = ()) -> Pki:
    """Return the folder's certificates, made where they are missing; raises PkiError, OSError."""
    pki = Pki(Path(directory))
    pki.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Server, kubelets and tools may come at once: the first makes what is missing.
    with (pki.directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _complete(pki, sans)
    return pki


def _complete(pki: Pki, sans: Sequence[str]) -> None:
    if not pki.ca_cert.exists():
        _make_authority(pki)
    load_key(pki.directory / "sa.key")
    names = tuple(dict.fromkeys((*SERVER_NAMES, *sans)))
    if not _holds_names(pki.server[0], names):
        _save(pki.server, pki.issue_server("kube-apiserver", names))
    if not pki.kubelet_client[0].exists():
        _save(
            pki.kubelet_client,
            pki.issue_client("kube-apiserver-kubelet-client", ["system:masters"]),
        )
    if not pki.admin[0].exists():
        _save(pki.admin, pki.issue_client("kubernetes-admin", ["system:masters"]))


def _make_authority(pki: Pki) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cairn-ca")])
    usage = x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = _builder(name, name, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    certificate = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
    files = (pki.ca_cert, pki.directory / "ca.key")
    _save(files, (_pem(certificate), _key_pem(key)))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - CLOCK_SKEW).not_valid_after(now + VALID)


def _holds_names(path: Path, names: Sequence[str]) -> bool:
    """Return whether a certificate is there, is valid, and holds every name."""
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    if certificate.not_valid_after_utc < datetime.now(UTC) + timedelta(days=30):
        return False
    return {_general_name(name) for name in names} <= set(found)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _save(paths: tuple[Path, Path], contents: tuple[bytes, bytes]) -> None:
    """Write the key, then its certificate, each whole or not at all."""
    for path, content in ((paths[1], contents[1]), (paths[0], contents[0])):
        partial = path.with_name(path.name + ".new")
        mode = 0o600 if path.suffix == ".key" else 0o644
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(content)
        partial.replace(path)
