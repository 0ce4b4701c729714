"""How a backend is asked whether it serves, and what it answered.

    Check (connect, or one HTTP request)  ->  Result

Units       seconds
Standards   RFC 9112 (HTTP/1.1); Kubernetes v1.HTTPGetAction: 200 to 399 is good
"""

from dataclasses import dataclass

INTERVAL_S = 1.0
"""Between two requests."""
CONNECT_INTERVAL_S = 0.5
"""Between two connects: the backend's process does not notice them, so they may come often."""
TIMEOUT_S = 1.0
FAILURES = 3


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that a healthy backend answers with 200 to 399."""

    path: str
    """Path and query."""
    host: str = ""
    """What the Host header says; empty: the backend's address."""
    secure: bool = False
    """Whether it goes over TLS; the certificate is not verified, as kubelets do not."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further header fields."""


@dataclass(frozen=True, slots=True)
class Check:
    """How one backend is checked."""

    http: HttpRequest | None = None
    """What is asked; None: that it takes a connection is enough."""
    interval_s: float = CONNECT_INTERVAL_S
    """Between two checks of a healthy backend."""
    failures: int = FAILURES
    """So many in a row, and it is ejected."""
    timeout_s: float = TIMEOUT_S
    """A check that takes longer has failed."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one check came to."""

    began: float
    """When it was begun."""
    ok: bool
    """Whether it is good."""
    whole: bool
    """Whether all was asked; False: only a connect, where a request is the check."""
    reason: str = ""
    """What was wrong."""
    refused: bool = False
    """Whether the backend's host said that nobody listens: certain, and known at once."""
