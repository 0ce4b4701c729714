"""The doors of other composition roots that the lab uses, found by name.

    PKI, ROUTER_PLAN  ->  module:function, loaded when first needed

Composition roots do not import each other; the lab, which composes them all, names what it
needs of them here, and the protocols below say what it expects.
"""

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from cairn.lab.state import LabError

_PKI = "cairn.api.pki:ensure_pki"
_KUBECONFIG = "cairn.api.kubeconfig:write_kubeconfig"
_ROUTER_PLAN = "cairn.router.daemons:plan_router"


class Pki(Protocol):
    """The cluster's keys and certificates."""

    @property
    def ca_pem(self) -> bytes:
        """The authority's certificate."""
        ...

    def issue_client(self, name: str, groups: Sequence[str]) -> tuple[bytes, bytes]:
        """Return certificate and key, in PEM, of a user of the API."""
        ...


class RouterProcess(Protocol):
    """One daemon of the router."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def argv(self) -> Sequence[str]:
        """Program and arguments; it stays in the foreground."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What is added to its environment."""
        ...

    @property
    def user(self) -> str | None:
        """Account to run as."""
        ...


class RouterFile(Protocol):
    """One file of the router."""

    @property
    def text(self) -> str:
        """Its content."""
        ...

    @property
    def mode(self) -> int:
        """Its permissions."""
        ...

    @property
    def owner(self) -> str:
        """The user and group it belongs to."""
        ...


class RouterPlan(Protocol):
    """What it takes to run one kind of router."""

    @property
    def files(self) -> Mapping[Path, RouterFile]:
        """What to write before the start."""
        ...

    @property
    def owner(self) -> str:
        """The user and group that the router's folder belongs to."""
        ...

    @property
    def bgpctl(self) -> Sequence[str]:
        """The command that `bgpctl ARGUMENTS` stands for."""
        ...

    @property
    def processes(self) -> Sequence[RouterProcess]:
        """Daemons, in the order to start them."""
        ...

    @property
    def ready(self) -> Sequence[str]:
        """A command that succeeds once the router is ready; run in its namespace."""
        ...

    @property
    def sysctls(self) -> Mapping[str, str]:
        """Kernel settings of the router's namespace."""
        ...


def ensure_pki(folder: Path) -> Pki:
    """Return the cluster's keys, made on the first call."""
    return cast(Pki, _load(_PKI)(folder))


def write_kubeconfig(path: Path, server_url: str, pki: Pki, user: str, groups: list[str]) -> None:
    """Write a kubeconfig for `user` with a certificate of its own."""
    client = pki.issue_client(user, groups)
    _load(_KUBECONFIG)(path, server_url, ca_pem=pki.ca_pem, client=client, user=user)


def plan_router(kind: str, **choices: Any) -> RouterPlan:
    """Return what it takes to run a router of this kind."""
    return cast(RouterPlan, _load(_ROUTER_PLAN)(kind, **choices))


def _load(where: str) -> Any:
    module, _, function = where.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise LabError(f"{where} cannot be loaded: {error}; reinstall cairn") from error
