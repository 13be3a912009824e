"""Which methods a target answers, and what each asks for (``docs/rest.md``)."""

from __future__ import annotations

from typing import Final

from lyredb.resources.requests import WriteOperation
from lyredb.resources.target import Target
from lyredb.tables.schema import Attribute

READS: Final = ("GET", "HEAD")
_ALWAYS: Final = ("OPTIONS", "TRACE")

_COLLECTION: Final = ("POST", "PUT", "DELETE", "QUERY")
_PART_OF_COLLECTION: Final = ("DELETE", "QUERY")
"""Below a prefix: a generated key does not begin with it, and bodies name other keys."""
_RECORD: Final = ("PUT", "PATCH", "DELETE")
_PROPERTY: Final = ("PUT", "DELETE")

OPERATIONS: Final[dict[str, WriteOperation]] = {
    "PUT": "put",
    "PATCH": "patch",
    "DELETE": "delete",
    "POST": "create",
}
"""What a method asks for, to decide about it before its body is looked at."""


def methods_of(target: Target) -> tuple[str, ...]:
    """The methods that a target answers, for ``Allow``."""
    return (*READS, *changes_of(target), *_ALWAYS)


def changes_of(target: Target) -> tuple[str, ...]:
    """The methods of a target that change it, and QUERY."""
    match target.kind:
        case "record":
            return _RECORD
        case "property":
            return _PROPERTY if is_assignable(target) else ()
        case "collection":
            return _PART_OF_COLLECTION if target.prefix else _COLLECTION
        case _:
            return ()


def is_assignable(target: Target) -> bool:
    """Tell whether a property is one that clients set: neither key, nor made by the server."""
    attribute = target.table.schema.attribute(target.attribute)
    return attribute is not None and is_assignable_attribute(attribute)


def is_assignable_attribute(attribute: Attribute) -> bool:
    """Tell whether clients set an attribute."""
    return not attribute.is_virtual and attribute.role in ("plain", "expires")


def operation_of(method: str, target: Target) -> WriteOperation:
    """What a method does to the record or records that it is about."""
    return "patch" if target.kind == "property" else OPERATIONS[method]
