"""What the API server knows of one kind, as data.

    Kind(names, schema, columns, default, validate, warn)  ->  discovery, admission, tables, OpenAPI

Invariants  A Kind is made once, at start or when its CRD is established.
Not here    The table of builtin kinds (builtin), kinds made from CustomResourceDefinitions (crd).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

Json = dict[str, Any]
"""A decoded JSON object that may be written to."""

ALL_VERBS: frozenset[str] = frozenset(
    {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
)


class Reason(StrEnum):
    """Why a field is wrong: the machine's word in `details.causes` of a Status."""

    REQUIRED = "FieldValueRequired"
    INVALID = "FieldValueInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    DUPLICATE = "FieldValueDuplicate"
    FORBIDDEN = "FieldValueForbidden"
    TOO_LONG = "FieldValueTooLong"
    TYPE_INVALID = "FieldValueTypeInvalid"
    UNKNOWN = "FieldValueUnknown"
    """An unknown field under strict validation: the server answers 400, not 422."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with an object."""

    field: str
    """Path of the field, as in `spec.ports[0].port`."""
    reason: Reason
    """What sort of mistake it is."""
    message: str
    """What was found and what was expected, without the path."""

    def __str__(self) -> str:
        return self.message if self.reason is Reason.UNKNOWN else f"{self.field}: {self.message}"


class AllocationError(Exception):
    """A wanted cluster IP or node port is taken or outside its range; the text says why."""


class CompletionError(Exception):
    """An object that cannot be completed."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__("; ".join(map(str, errors)))
        self.errors = errors


class Context(Protocol):
    """What defaulting may ask of the server."""

    @property
    def old(self) -> Mapping[str, Any] | None:
        """The stored object that is being replaced; None at creation."""

    @property
    def families(self) -> tuple[str, ...]:
        """Families that Services can have addresses of, the default one first."""

    def allocate_cluster_ip(self, family: str, wanted: str | None) -> str:
        """Reserve `wanted`, or any free address of "IPv4" or "IPv6"; raises AllocationError."""

    def allocate_node_port(self, protocol: str, wanted: int | None) -> int:
        """Reserve `wanted`, or any free node port of the protocol; raises AllocationError."""


Cell = Callable[[Mapping[str, Any], datetime], Any]
"""The value of a column that a path cannot give, at the time of asking."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of `kubectl get`."""

    name: str
    """As in the table's head, in mixed case; kubectl writes it in capitals."""
    type: str
    """string, integer, number, boolean or date (shown as an age)."""
    source: str | Cell
    """A JSONPath below the object, or a function of the object and the time."""
    priority: int = 0
    """0: always shown; more: with `-o wide`."""
    description: str = ""
    """One sentence on what the column tells."""
    format: str = ""
    """"name" marks the column that names the object."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a kind keeps the three values of its scale subresource, as paths without `$`."""

    spec_replicas: str = ".spec.replicas"
    """The number that is wanted."""
    status_replicas: str = ".status.replicas"
    """The number that is there."""
    selector: str = ".spec.selector"
    """A label selector: an object (builtin kinds) or its text form (custom resources)."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind in one version; two kinds are the same only if they are one object."""

    group: str
    """API group, empty for the core."""
    version: str
    """Version, as in `v1`."""
    kind: str
    """Name in objects."""
    plural: str
    """Name in paths."""
    singular: str
    """Name on kubectl's command line."""
    namespaced: bool
    """Whether objects live in a namespace."""
    short_names: tuple[str, ...] = ()
    """Abbreviations for kubectl."""
    categories: tuple[str, ...] = ()
    """Groups of kinds, as in `kubectl get all`."""
    verbs: frozenset[str] = ALL_VERBS
    """What a client may do."""
    subresources: frozenset[str] = frozenset()
    """"status", "scale" and, of a pod, "log", "exec", …"""
    has_generation: bool = True
    """Whether `metadata.generation` counts the changes of all but metadata and status."""
    schema: Mapping[str, Any] | None = None
    """OpenAPI v3 structural schema of the whole object."""
    columns: tuple[Column, ...] = ()
    """Columns after Name; none means Age alone."""
    default: Callable[[Json, Context], None] | None = None
    """Completes an admitted object in place; raises CompletionError."""
    validate: Callable[[Mapping[str, Any], Mapping[str, Any] | None], list[FieldError]] | None = (
        None
    )
    """What is wrong with (new, old) beyond the schema; old is None at creation."""
    warn: Callable[[Mapping[str, Any]], list[str]] | None = None
    """Texts for `Warning:` headers of an answer to a write."""
    scale: Scale | None = None
    """How the scale subresource maps; None where there is none."""
    custom: bool = False
    """Whether a CustomResourceDefinition made it: no strategic merge then."""

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def path(self) -> str:
        """The URL path of its group and version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
