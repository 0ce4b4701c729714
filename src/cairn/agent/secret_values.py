"""Values of Secrets that rules compare headers with.

    (namespace, name)  ->  the one value that the Secret holds, or None

Invariants  A Secret that cannot be read now has the value that it had; one that is gone, or that
            holds more than one entry, has none: what needs it denies.
Standards   cilium.io/v2 HeaderMatch.secret
"""

import base64
import binascii
import logging

from cairn.drive.kube_client import ApiError, Client
from cairn.kube.metadata import Key
from cairn.kube.resource import SECRETS

log = logging.getLogger("proxy")


class SecretValues:
    """Reads Secrets one by one, since few are needed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, str], str | None] = {}

    async def read(self, name: tuple[str, str]) -> str | None:
        """Return the value of the Secret of this namespace and name; None if it has none."""
        try:
            secret = await self._client.get(SECRETS, Key(*name))
            value, wrong = _only_value(secret.get("data") or {})
        except ApiError as error:
            if error.status != 404 and name in self._known:
                return self._known[name]
            value, wrong = None, error.message
        if wrong and (name not in self._known or self._known[name] is not None):
            log.error("Secret %s/%s: %s: rules that need it deny", *name, wrong)
        self._known[name] = value
        return value


def _only_value(data: dict[str, str]) -> tuple[str | None, str]:
    if len(data) != 1:
        return None, f"holds {len(data)} entries, and must hold one"
    try:
        return base64.b64decode(next(iter(data.values())), validate=True).decode(), ""
    except (binascii.Error, UnicodeDecodeError):
        return None, "holds no text"
