"""From a column's Python type to the type of a schema."""

from __future__ import annotations

import sys
import types
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from lyredb.tables.blob import Blob
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
    Blob: "Blob",
}
_OWNER: Final = ""
"""The class of the column among the names: no class is called so."""
_KEYS: Final = {"String": "ID"}
"""In a key, where plain ``str`` is the usual thing, it is an ID."""


class WrappedClass(Protocol):
    """A class whose instances wrap dictionaries."""

    @classmethod
    def from_dict(cls, record: dict[str, object], /) -> object:
        """Wrap an object of a record."""


class NestedClass(WrappedClass, Protocol):
    """A class of nested objects (`lyredb.tables.declare.nested.Nested`)."""

    _lyre_nested: str


class TableClass(WrappedClass, Protocol):
    """A class of a table (`lyredb.tables.declare.table.Table`)."""

    _lyre_options: TableOptions


class TableOptions(Protocol):
    """Its class arguments."""

    @property
    def full_name(self) -> str:
        """``<database>.<table>``."""


@dataclass(frozen=True, slots=True)
class PythonType:
    """A column's type, read.

    Attributes:
        scalar: The scalar's name, ``""`` for a list or nested type.
        nested: The class of a nested type.
        table: The class of a table, of a relationship.
        element: Of a list.
        required: ``None`` is not among its values.
    """

    scalar: str = ""
    nested: type[NestedClass] | None = None
    element: PythonType | None = None
    required: bool = True
    table: type[TableClass] | None = None

    @property
    def ref(self) -> TypeRef:
        """The same as the schema has it."""
        if self.element is not None:
            return TypeRef("", self.element.ref, self.required)
        # A record of another table can be anything: its own schema says what it is.
        scalar = "Any" if self.table else self.scalar
        name = self.nested._lyre_nested if self.nested else scalar
        return TypeRef(name, None, self.required)

    @property
    def innermost(self) -> type[NestedClass] | None:
        """The class of the nested type inside all lists."""
        return self.nested if self.element is None else self.element.innermost

    @property
    def related(self) -> type[TableClass] | None:
        """The class of the table inside all lists."""
        return self.table if self.element is None else self.element.related


def read_type(column: Column[Any]) -> PythonType:
    """Return the type of a column.

    Raises:
        SchemaError: It is none that a table can have; with file and line of the column.
    """
    assert column.owner is not None, "the column stands in a class"
    names = vars(sys.modules.get(column.owner.__module__, types)).copy()
    names[column.owner.__name__] = column.owner
    names[_OWNER] = column.owner
    try:
        read = _read(column.annotation, names)
        _check_table(column, read)
    except _UnknownType as error:
        raise schema_error(str(error), column.owner, column.python_name) from None
    if column.role == "primary key" and column.annotation is str:
        return PythonType(_KEYS[read.scalar], required=True)
    return read


def _check_table(column: Column[Any], read: PythonType) -> None:
    """A table stands where a relationship is, and nowhere else."""
    related = read.related
    if related is None:
        if column.joined is not None:
            raise _UnknownType("a relationship is to a table: Rel[Brand] or Rel[list[Brand]]")
    elif column.joined is None:
        raise _UnknownType(table_type_problem(_shown(related)))
    elif read.element is not None and read.element.element is not None:
        raise _UnknownType("a relationship is one record, or a list of records")


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
    if is_table(annotation):
        return PythonType(table=annotation)
    try:
        return PythonType(_PYTHON[annotation])
    except (KeyError, TypeError):
        raise _UnknownType(_problem(annotation)) from None


def is_nested(annotation: object) -> TypeGuard[type[NestedClass]]:
    """Tell whether this is the class of a nested type."""
    return isinstance(annotation, type) and bool(getattr(annotation, "_lyre_nested", ""))


def is_table(annotation: object) -> TypeGuard[type[TableClass]]:
    """Tell whether this is the class of a table."""
    return isinstance(annotation, type) and hasattr(annotation, "_lyre_options")


def _resolved(annotation: str | ForwardRef, names: Mapping[str, object]) -> object:
    text = annotation if isinstance(annotation, str) else annotation.__forward_arg__
    if text.isidentifier():
        if text in names:
            return names[text]
        local = _local_class(text, names)
        if local is not None:
            return local
        known = [name for name, value in names.items() if is_nested(value)]
        hint = did_you_mean(text, (*known, "str", "int", "float", "bool", "bytes", "datetime"))
        raise _UnknownType(f"unknown type {text}{hint}")
    return ForwardRef(text)._evaluate(dict(names), None, recursive_guard=frozenset())


def _local_class(name: str, names: Mapping[str, object]) -> type | None:
    """A table or nested type of this name beside the column's class, where both are local.

    Functions have no names that can be looked up from outside; the classes have.
    """
    own = names[_OWNER]
    assert isinstance(own, type), "it is put there for this"
    wanted = (own.__module__, f"{own.__qualname__.rpartition('.')[0]}.{name}")
    waiting = [own.__mro__[-2]]  # what all of them are derived from
    while waiting:
        found = waiting.pop()  # the latest first, where a function ran twice
        if (found.__module__, found.__qualname__) == wanted:
            return found
        waiting += found.__subclasses__()
    return None


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
    return replace(read, required=False)


def _problem(annotation: object) -> str:
    return (
        f"a column cannot be of type {_shown(annotation)}; it can be str, int, float, bool, "
        "datetime, bytes, Any, ID, String, Int32, BigInt, Blob, a Nested class, or a list of these"
    )


def _shown(annotation: object) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
