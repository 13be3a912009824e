"""Columns: at the class what conditions are made of, at an instance the record's value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Final,
    Generic,
    NoReturn,
    Protocol,
    Self,
    TypeVar,
    cast,
    overload,
)

from lyredb.tables.query.terms import Condition
from lyredb.tables.schema import Role

T = TypeVar("T")


class Marker:
    """A value that no record has."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


UNSET: Final = Marker("UNSET")
GENERATED: Final[Any] = Marker("GENERATED")
"""Default of a key that is made when a record without one is put."""


class Wrapper(Protocol):
    """An object whose columns are backed by a record."""

    def _lyre_record(self) -> dict[str, object]:
        """The record itself, not a copy."""


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """What `field` was called with."""

    default: object = UNSET
    name: str = ""
    description: str = ""


def field(*, default: Any = UNSET, name: str = "", description: str = "") -> Any:
    """Say more of a column than its type.

    Args:
        default: What is read where a record has no such attribute. It is never stored.
            `GENERATED`, for a key: made when a record without one is put.
        name: The attribute's name in records, when it cannot be one in Python.
        description: For people.

    Raises:
        ValueError: The default could be changed by whoever reads it.
    """
    if isinstance(default, (list, dict, set)):
        raise ValueError("a default must not be mutable; leave it out and read None instead")
    return FieldOptions(default, name, description)


Read = Callable[[object], object]
"""Turns a record's value into what an instance shows; ``UNSET`` for an absent one."""


class Column(Generic[T]):
    """Base of all columns.

    Attributes:
        attribute: The attribute's name in records.
        python_name: Its name in the class.
        annotation: The Python type between the brackets, evaluated.
        description: For people.
        default: What is read where the record has none, ``UNSET`` for nothing.
        indexed: It has an index.
        owner: The class that it stands in.
        role: As in the schema.
        make_read: Given by the class; makes what ``__get__`` reads with.
    """

    role: ClassVar[Role] = "plain"
    is_indexed: ClassVar[bool] = False

    def __init__(self, annotation: object = UNSET, options: FieldOptions | None = None) -> None:
        options = options or FieldOptions()
        self.annotation = annotation
        self.attribute = options.name
        self.description = options.description
        self.default = options.default
        self.indexed = self.is_indexed
        self.python_name = ""
        self.owner: type | None = None
        self.make_read: Callable[[Column[Any]], Read] | None = None
        self._read: Read | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        self.python_name = name
        self.attribute = self.attribute or name
        self.owner = owner

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Wrapper, owner: type) -> T: ...
    def __get__(self, instance: Wrapper | None, owner: type) -> Self | T:
        if instance is None:
            return self
        value = instance._lyre_record().get(self.attribute, UNSET)
        if self._read is None:
            # Made at the first reading: by then all classes that the type names exist.
            assert self.make_read is not None, "the class gives it to its columns"
            self._read = self.make_read(self)
        return cast("T", self._read(value))

    def __set__(self, instance: Wrapper, value: T) -> None:
        instance._lyre_record()[self.attribute] = unwrap(value)

    def __delete__(self, instance: Wrapper) -> None:
        instance._lyre_record().pop(self.attribute, None)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]  # makes a condition
        return Condition((self.attribute,), "equals", unwrap(other), self.owner)

    def __ne__(self, other: object) -> NoReturn:
        raise TypeError(f"`{self!r} != …` is not supported yet; only == is")

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        owner = self.owner.__name__ if self.owner else "?"
        return f"{owner}.{self.python_name}"


def unwrap(value: object) -> object:
    """Return what a record holds for a Python value: instances are their records."""
    if isinstance(value, (list, tuple)):
        return [unwrap(item) for item in value]
    record = getattr(type(value), "_lyre_record", None)
    return record(value) if record else value


class Col(Column[T]):
    """A plain column: ``value: Col[float]``, or ``Col[float | None]`` if it may be absent."""


class Indexed(Column[T]):
    """A column with an index: ``site: Indexed[str]``."""

    is_indexed = True


class Key(Column[T]):
    """The key: ``id: Key[str]``. A table without one has the undeclared key ``id``."""

    role = "primary key"


class _ServerTime(Column[T]):
    """A time that the server sets. Written without annotation: it is no argument."""

    def __init__(
        self,
        type: object = datetime,
        /,
        *,
        indexed: bool = False,
        name: str = "",
        description: str = "",
    ) -> None:
        super().__init__(type, FieldOptions(name=name, description=description))
        self.indexed = indexed

    def __set__(self, instance: Wrapper, value: T) -> NoReturn:
        raise AttributeError(f"{self!r} is set by the server")


class CreatedTime(_ServerTime[T]):
    """When the record was first written: ``made = CreatedTime()``.

    A date by default; ``CreatedTime(float)`` or ``(int)`` are epoch milliseconds.
    """

    role = "created"

    if TYPE_CHECKING:
        # The type of the column follows from the argument; a type checker finds that
        # only where the class itself says it.
        @overload
        def __init__(
            self: CreatedTime[datetime],
            type: type[datetime] = ...,
            /,
            *,
            indexed: bool = ...,
            name: str = ...,
            description: str = ...,
        ) -> None: ...
        @overload
        def __init__(
            self, type: type[T], /, *, indexed: bool = ..., name: str = ..., description: str = ...
        ) -> None: ...
        def __init__(self, *arguments: Any, **options: Any) -> None: ...


class UpdatedTime(_ServerTime[T]):
    """When the record was last written: ``at = UpdatedTime()``; else as `CreatedTime`."""

    role = "updated"

    if TYPE_CHECKING:
        # The type of the column follows from the argument; a type checker finds that
        # only where the class itself says it.
        @overload
        def __init__(
            self: UpdatedTime[datetime],
            type: type[datetime] = ...,
            /,
            *,
            indexed: bool = ...,
            name: str = ...,
            description: str = ...,
        ) -> None: ...
        @overload
        def __init__(
            self, type: type[T], /, *, indexed: bool = ..., name: str = ..., description: str = ...
        ) -> None: ...
        def __init__(self, *arguments: Any, **options: Any) -> None: ...


Columns = Mapping[str, Column[Any]]
"""By their Python names, in declared order."""
