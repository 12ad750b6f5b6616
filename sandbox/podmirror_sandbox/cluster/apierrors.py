"""What the API server refuses, in its own words.

ApiError
  one class with constructors named for the reasons of `metav1.Status`, because callers tell them apart by reason and
  code exactly as clients do, never by Python type.

FieldError describes one field of an invalid object, worded as apimachinery's `field.Error`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from podmirror_sandbox.cluster.objects import Object
    from podmirror_sandbox.cluster.resources import Resource


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field."""

    field: str
    reason: str
    """`FieldValueRequired` and its like: the reason in `details.causes`."""
    text: str
    """What follows the field in the message."""

    @classmethod
    def required(cls, field: str, detail: str = "") -> FieldError:
        """A field that must be there."""
        return cls(field, "FieldValueRequired", "Required value" + (f": {detail}" if detail else ""))

    @classmethod
    def duplicate(cls, field: str, value: str) -> FieldError:
        """A value that must be unique."""
        return cls(field, "FieldValueDuplicate", f"Duplicate value: {json.dumps(value)}")

    @classmethod
    def forbidden(cls, field: str, detail: str) -> FieldError:
        """A field that may not be set or changed."""
        return cls(field, "FieldValueForbidden", f"Forbidden: {detail}")

    @classmethod
    def invalid(cls, field: str, value: Any, detail: str) -> FieldError:
        """A value that breaks a rule."""
        return cls(field, "FieldValueInvalid", f"Invalid value: {json.dumps(value)}: {detail}")

    @classmethod
    def not_found(cls, field: str, value: str) -> FieldError:
        """A name that refers to nothing."""
        return cls(field, "FieldValueNotFound", f"Not found: {json.dumps(value)}")

    @classmethod
    def unsupported(cls, field: str, value: Any, supported: list[str]) -> FieldError:
        """A value outside an enumeration."""
        choices = ", ".join(json.dumps(choice) for choice in supported)
        text = f"Unsupported value: {json.dumps(value)}: supported values: {choices}"
        return cls(field, "FieldValueNotSupported", text)

    def __str__(self) -> str:
        return f"{self.field}: {self.text}"


class ApiError(Exception):
    """A request that the server answers with a `Status` of failure."""

    def __init__(self, code: int, reason: str, message: str, details: Object | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    @classmethod
    def not_found(cls, resource: Resource, name: str) -> ApiError:
        """No object of that name."""
        message = f'{resource.qualified_name} "{name}" not found'
        return cls(404, "NotFound", message, _about(resource, name))

    @classmethod
    def unknown_path(cls) -> ApiError:
        """No resource of that name, or no such path at all."""
        return cls(404, "NotFound", "the server could not find the requested resource")

    @classmethod
    def already_exists(cls, resource: Resource, name: str) -> ApiError:
        """An object of that name is there already."""
        message = f'{resource.qualified_name} "{name}" already exists'
        return cls(409, "AlreadyExists", message, _about(resource, name))

    @classmethod
    def conflict(cls, resource: Resource, name: str, why: str = "") -> ApiError:
        """An update that was based on an older version."""
        why = why or (
            "the object has been modified; please apply your changes to the latest version and try again"
        )
        message = f'Operation cannot be fulfilled on {resource.qualified_name} "{name}": {why}'
        return cls(409, "Conflict", message, _about(resource, name))

    @classmethod
    def invalid(cls, resource: Resource, name: str, errors: list[FieldError]) -> ApiError:
        """An object that breaks the rules of its kind."""
        qualified_kind = resource.kind + (f".{resource.group}" if resource.group else "")
        texts = [str(error) for error in errors]
        text = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
        causes = [{"reason": error.reason, "message": error.text, "field": error.field} for error in errors]
        details = {**_about(resource, name), "kind": resource.kind, "causes": causes}
        return cls(422, "Invalid", f'{qualified_kind} "{name}" is invalid: {text}', details)

    @classmethod
    def bad_request(cls, message: str) -> ApiError:
        """A request that makes no sense."""
        return cls(400, "BadRequest", message)

    @classmethod
    def expired(cls, asked: int, oldest: int) -> ApiError:
        """A watch that starts before the history that is kept."""
        return cls(410, "Expired", f"too old resource version: {asked} ({oldest})")

    def status(self) -> Object:
        """The body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def _about(resource: Resource, name: str) -> Object:
    details: Object = {"name": name, "kind": resource.plural}
    if resource.group:
        details["group"] = resource.group
    return details
