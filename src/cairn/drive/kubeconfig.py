"""Where the API server is and how to prove who we are.

    kubeconfig file | in-cluster account  ->  Access(url, TLS context, token)

Standards   Kubernetes kubeconfig v1; in-cluster service account files
"""

import base64
import os
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import yaml

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class NoAccess(Exception):
    """There is no usable way to the API server; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Access:
    """One API server and our credentials for it."""

    url: str
    """Scheme, host and port, without a trailing slash."""
    tls: ssl.SSLContext | None
    """None for plain HTTP."""
    token_file: Path | None = None
    """File that holds the bearer token; read again for each connection, as kubelets rotate it."""
    token: str | None = None
    """Fixed bearer token."""

    def headers(self) -> dict[str, str]:
        """Return the headers that authenticate a request."""
        token = self.token_file.read_text().strip() if self.token_file else self.token
        return {"Authorization": f"Bearer {token}"} if token else {}


def find_access(kubeconfig: str | None = None) -> Access:
    """Return the access of `kubeconfig`, else $KUBECONFIG, else the pod's own account.

    Raises NoAccess with one line that says what was looked for.
    """
    path = kubeconfig or os.environ.get("KUBECONFIG")
    if path:
        return from_kubeconfig(Path(path))
    host = os.environ.get("KUBERNETES_SERVICE_HOST")
    if host and (ACCOUNT / "token").exists():
        return _in_cluster(host, os.environ.get("KUBERNETES_SERVICE_PORT", "443"))
    raise NoAccess(
        "no API server: set KUBECONFIG or pass --kubeconfig (and this is not a pod with an account)"
    )


def _in_cluster(host: str, port: str) -> Access:
    name = f"[{host}]" if ":" in host else host
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    return Access(f"https://{name}:{port}", context, token_file=ACCOUNT / "token")


def from_kubeconfig(path: Path) -> Access:
    """Return the access of the file's current context; raises NoAccess."""
    try:
        config = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        hint = "set KUBECONFIG or pass --kubeconfig to name another file"
        raise NoAccess(f"kubeconfig {path}: {error.strerror}; {hint}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise NoAccess(f"kubeconfig {path}: {' '.join(str(error).split())}") from error
    try:
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        url = cluster["server"].rstrip("/")
    except (KeyError, TypeError) as error:
        missing = f"{error} is missing" if isinstance(error, KeyError) else "it is no kubeconfig"
        raise NoAccess(f"kubeconfig {path}: {missing}") from error
    tls = _tls(cluster, user, path) if url.startswith("https:") else None
    token_file = user.get("tokenFile")
    return Access(url, tls, Path(token_file) if token_file else None, user.get("token"))


def _named(items: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    for item in items:
        if item["name"] == name:
            return item
    raise KeyError(name)


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], path: Path) -> ssl.SSLContext:
    try:
        context = _context(cluster, path)
        certificate = _data(user, "client-certificate", path.parent)
        key = _data(user, "client-key", path.parent)
        if certificate and key:
            _load_chain(context, certificate, key)
    except (OSError, ValueError) as error:
        named = getattr(error, "filename", None) or "certificate or key"
        why = getattr(error, "strerror", None) or error
        raise NoAccess(f"kubeconfig {path}: {named}: {why}") from error
    return context


def _context(cluster: Mapping[str, Any], path: Path) -> ssl.SSLContext:
    """Return what is trusted. The system's authorities are read only where they are asked for."""
    if cluster.get("insecure-skip-tls-verify"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    authority = _data(cluster, "certificate-authority", path.parent)
    return ssl.create_default_context(cadata=authority.decode() if authority else None)


def _data(section: Mapping[str, Any], name: str, folder: Path) -> bytes | None:
    if inline := section.get(f"{name}-data"):
        return base64.b64decode(inline)
    return (folder / section[name]).read_bytes() if section.get(name) else None


def _load_chain(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    # The ssl module takes certificate and key by file name only.
    with NamedTemporaryFile("wb", suffix=".pem") as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(file.name)
