"""From a column's Python type to the type of a schema."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import (
    Annotated,
    Any,
    Final,
    ForwardRef,
    Protocol,
    TypeGuard,
    Union,
    get_args,
    get_origin,
)

from lyredb.errors import SchemaError
from lyredb.tables.checks import table_type_problem
from lyredb.tables.declare.columns import Column
from lyredb.tables.declare.markers import Scalar
from lyredb.tables.declare.places import schema_error
from lyredb.tables.hints import did_you_mean
from lyredb.tables.schema import TypeRef

_PYTHON: Final[Mapping[object, str]] = {
    str: "String",
    int: "Long",
    float: "Float",
    bool: "Boolean",
    datetime: "Date",
    bytes: "Bytes",
    Any: "Any",
}
_KEYS: Final = {"String": "ID"}
"""In a key, where plain ``str`` is the usual thing, it is an ID."""


class NestedClass(Protocol):
    """A class of nested objects (`lyredb.tables.declare.nested.Nested`)."""

    _lyre_nested: str

    @classmethod
    def from_dict(cls, record: dict[str, object], /) -> object:
        """Wrap an object of a record."""


@dataclass(frozen=True, slots=True)
class PythonType:
    """A column's type, read.

    Attributes:
        scalar: The scalar's name, ``""`` for a list or nested type.
        nested: The class of a nested type.
        element: Of a list.
        required: ``None`` is not among its values.
    """

    scalar: str = ""
    nested: type[NestedClass] | None = None
    element: PythonType | None = None
    required: bool = True

    @property
    def ref(self) -> TypeRef:
        """The same as the schema has it."""
        if self.element is not None:
            return TypeRef("", self.element.ref, self.required)
        name = self.nested._lyre_nested if self.nested else self.scalar
        return TypeRef(name, None, self.required)

    @property
    def innermost(self) -> type[NestedClass] | None:
        """The class of the nested type inside all lists."""
        return self.nested if self.element is None else self.element.innermost


def read_type(column: Column[Any]) -> PythonType:
    """Return the type of a column.

    Raises:
        SchemaError: It is none that a table can have; with file and line of the column.
    """
    assert column.owner is not None, "the column stands in a class"
    names = vars(sys.modules.get(column.owner.__module__, types)).copy()
    names[column.owner.__name__] = column.owner
    try:
        read = _read(column.annotation, names)
    except _UnknownType as error:
        raise schema_error(str(error), column.owner, column.python_name) from None
    if column.role == "primary key" and column.annotation is str:
        return PythonType(_KEYS[read.scalar], required=True)
    return read


class _UnknownType(SchemaError):
    """A type that no table has; whoever knows the column names it."""


def _read(annotation: object, names: Mapping[str, object]) -> PythonType:
    if isinstance(annotation, (str, ForwardRef)):
        return _read(_resolved(annotation, names), names)
    origin = get_origin(annotation)
    if origin is Annotated:
        return PythonType(_scalar_of(annotation))
    if origin is Union or isinstance(annotation, types.UnionType):
        return _optional(annotation, names)
    if origin is list:
        (element,) = get_args(annotation)
        return PythonType(element=_read(element, names))
    if is_nested(annotation):
        return PythonType(nested=annotation)
    try:
        return PythonType(_PYTHON[annotation])
    except (KeyError, TypeError):
        raise _UnknownType(_problem(annotation)) from None


def is_nested(annotation: object) -> TypeGuard[type[NestedClass]]:
    """Tell whether this is the class of a nested type."""
    return isinstance(annotation, type) and bool(getattr(annotation, "_lyre_nested", ""))


def _resolved(annotation: str | ForwardRef, names: Mapping[str, object]) -> object:
    text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
    if text.isidentifier():
        if text in names:
            return names[text]
        known = [name for name, value in names.items() if is_nested(value)]
        hint = did_you_mean(text, (*known, "str", "int", "float", "bool", "bytes", "datetime"))
        raise _UnknownType(f"unknown type {text}{hint}")
    return ForwardRef(text)._evaluate(dict(names), None, recursive_guard=frozenset())


def _scalar_of(annotation: object) -> str:
    for extra in get_args(annotation)[1:]:
        if isinstance(extra, Scalar):
            return extra.name
    raise _UnknownType(_problem(annotation))


def _optional(annotation: object, names: Mapping[str, object]) -> PythonType:
    parts = [part for part in get_args(annotation) if part is not type(None)]
    if len(parts) != 1 or len(parts) == len(get_args(annotation)):
        raise _UnknownType(
            f"{_shown(annotation)} is several types; only `… | None` is understood, or Any"
        )
    read = _read(parts[0], names)
    return PythonType(read.scalar, read.nested, read.element, required=False)


def _problem(annotation: object) -> str:
    if hasattr(annotation, "_lyre_options"):
        return table_type_problem(_shown(annotation))
    return (
        f"a column cannot be of type {_shown(annotation)}; it can be str, int, float, bool, "
        "datetime, bytes, Any, ID, String, Int32, BigInt, a Nested class, or a list of these"
    )


def _shown(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
