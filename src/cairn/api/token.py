"""Bearer tokens of service accounts: signed, so that the server need not keep them.

    key, namespace, name  ->  token;  key, token  ->  user

Standards   RFC 7519 (JWT), RFC 7518 s3.2 (HS256)
"""

import hmac
import os
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import msgspec

from cairn.apiserver.request import User

KEY_BYTES = 32
_ISSUER = "https://kubernetes.default.svc.cluster.local"
_PREFIX = "system:serviceaccount:"


def load_key(path: Path) -> bytes:
    """Return the key in `path`, made if there is none; raises OSError."""
    try:
        # O_EXCL: of two that start at once, one makes the key and both read it.
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_hex(KEY_BYTES).encode())
    except FileExistsError:
        pass
    return bytes.fromhex(path.read_text().strip())


def write_token(key: bytes, namespace: str, name: str) -> str:
    """Return the token of a service account; it does not expire."""
    head = _part({"alg": "HS256", "typ": "JWT"})
    claims = {
        "iss": _ISSUER,
        "sub": f"{_PREFIX}{namespace}:{name}",
        "kubernetes.io": {"namespace": namespace, "serviceaccount": {"name": name}},
    }
    signed = f"{head}.{_part(claims)}"
    return f"{signed}.{_sign(key, signed)}"


def read_token(key: bytes, token: str) -> User | None:
    """Return whose token it is; None if it is not one of ours."""
    signed, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signature.encode(), _sign(key, signed).encode()):
        return None
    try:
        claims = msgspec.json.decode(_unpadded(signed.partition(".")[2]))
        subject = claims["sub"]
    except (ValueError, KeyError, TypeError):
        return None
    namespace = subject.removeprefix(_PREFIX).partition(":")[0]
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return User(subject, (*groups, "system:authenticated"))


def _sign(key: bytes, text: str) -> str:
    return urlsafe_b64encode(hmac.digest(key, text.encode(), "sha256")).decode().rstrip("=")


def _part(value: object) -> str:
    return urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


def _unpadded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
