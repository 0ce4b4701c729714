"""Kubeconfig files: how kubectl and the parts of Cairn reach this server.

    server URL, CA, certificate or token  ->  kubeconfig (YAML)

Not here    Reading one (cairn.drive.kubeconfig).
"""

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

import yaml


def write_kubeconfig(
    path: Path | str,
    server_url: str,
    *,
    ca_pem: bytes,
    client: tuple[bytes, bytes] | None = None,
    token: str | None = None,
    name: str = "cairn",
    user: str = "admin",
    namespace: str = "default",
) -> None:
    """Write a kubeconfig for a client certificate (certificate, key) or a token."""
    credentials: dict[str, Any] = {}
    if client is not None:
        credentials["client-certificate-data"] = b64encode(client[0]).decode()
        credentials["client-key-data"] = b64encode(client[1]).decode()
    if token is not None:
        credentials["token"] = token
    cluster = {"server": server_url, "certificate-authority-data": b64encode(ca_pem).decode()}
    context = {"cluster": name, "user": user, "namespace": namespace}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": name, "context": context}],
        "current-context": name,
    }
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".new")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        yaml.safe_dump(config, file, sort_keys=False)
    partial.replace(path)
