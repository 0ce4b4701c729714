"""Refusals: what the server answers when it does not do what was asked.

    Refused(code, reason, message, details)  ->  a `Status` object, as every client reads it

Standards   Kubernetes API conventions, "Response Status Kind"
"""

from collections.abc import Sequence
from typing import Any

from cairn.apiserver.kind import FieldError, Kind
from cairn.apiserver.kind import Reason as Cause


class Refused(Exception):
    """A request that cannot be served; carries all of its Status."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def status(self) -> dict[str, Any]:
        """Return the Status object; a client may rely on `details`, though empty, with a 404."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            **({} if self.details is None else {"details": self.details}),
            "code": self.code,
        }


def success(kind: Kind, name: str, uid: str) -> dict[str, Any]:
    """Return the Status of an object that is gone, or of an action that is done."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {**_details(kind, name), "uid": uid},
    }


def bad_request(message: str) -> Refused:
    """The request itself is wrong."""
    return Refused(400, "BadRequest", message)


def unauthorized() -> Refused:
    """Nobody we know."""
    return Refused(401, "Unauthorized", "Unauthorized")


def forbidden(kind: Kind, name: str, why: str, *, cause: str = "") -> Refused:
    """The object may not be written now."""
    details = _details(kind, name)
    if cause:
        details["causes"] = [{"reason": cause, "message": why}]
    return Refused(
        403, "Forbidden", f'{_resource(kind)} "{name}" is forbidden: {why}', details=details
    )


def not_found(kind: Kind, name: str) -> Refused:
    """There is no such object."""
    return Refused(
        404, "NotFound", f'{_resource(kind)} "{name}" not found', details=_details(kind, name)
    )


def no_such_path() -> Refused:
    """There is no such resource."""
    return Refused(404, "NotFound", "the server could not find the requested resource", details={})


def method_not_allowed(method: str) -> Refused:
    """The resource does not have this verb."""
    return Refused(
        405,
        "MethodNotAllowed",
        f"the server does not allow this method on the requested resource: {method}",
    )


def already_exists(kind: Kind, name: str) -> Refused:
    """The name is taken."""
    return Refused(
        409,
        "AlreadyExists",
        f'{_resource(kind)} "{name}" already exists',
        details=_details(kind, name),
    )


def conflict(kind: Kind, name: str, why: str = "") -> Refused:
    """The object is not what the client took it for."""
    why = why or (
        "the object has been modified; "
        "please apply your changes to the latest version and try again"
    )
    return Refused(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {_resource(kind)} "{name}": {why}',
        details=_details(kind, name),
    )


def expired(message: str, *, cont: str = "") -> Refused:
    """The resource version, or the continue token, is too old."""
    refusal = Refused(410, "Expired", message)
    if cont:
        refusal.details = {"continue": cont}
    return refusal


def invalid(kind: Kind, name: str, errors: Sequence[FieldError]) -> Refused:
    """The object breaks rules: 422 with its causes, or 400 if all is that fields are unknown."""
    unknown = [error for error in errors if error.reason is Cause.UNKNOWN]
    if unknown:
        told = ", ".join(str(error) for error in unknown)
        return bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"strict decoding error: {told}"
        )
    told = "; ".join(str(error) for error in errors)
    if len(errors) > 1:
        told = "[" + ", ".join(str(error) for error in errors) + "]"
    details = _details(kind, name) | {
        "kind": kind.kind,
        "causes": [
            {"reason": str(error.reason), "message": error.message, "field": error.field}
            for error in errors
        ],
    }
    return Refused(422, "Invalid", f'{kind.kind} "{name}" is invalid: {told}', details=details)


def _details(kind: Kind, name: str) -> dict[str, Any]:
    details = {"name": name, "kind": kind.plural}
    return details | {"group": kind.group} if kind.group else details


def _resource(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural
