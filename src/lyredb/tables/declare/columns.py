"""Columns: at the class what conditions are made of, at an instance the record's value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    NoReturn,
    Protocol,
    Self,
    TypeVar,
    cast,
    overload,
)

from lyredb.tables.comparing import Comparable, unwrap
from lyredb.tables.declare.options import UNSET, FieldOptions, field
from lyredb.tables.schema import Role

T = TypeVar("T")


class Wrapper(Protocol):
    """An object whose columns are backed by a record."""

    def _lyre_record(self) -> dict[str, object]:
        """The record itself, not a copy."""


Read = Callable[[object], object]
"""Turns a record's value into what an instance shows; ``UNSET`` for an absent one."""


class Column(Comparable[T]):
    """Base of all columns; at the class also what conditions are made of (`Comparable`).

    Attributes:
        attribute: The attribute's name in records.
        python_name: Its name in the class.
        annotation: The Python type between the brackets, evaluated.
        description: For people.
        default: What is read where the record has none, ``UNSET`` for nothing.
        indexed: It has an index.
        owner: The class that it stands in.
        role: As in the schema.
        roles: That may use it; empty for all.
        hidden: Left out of documents that describe the interface.
        enumerable: A virtual one that is part of whole records.
        joined: Of a relationship: the attribute here, and that of the other table.
        computed: Of a computed attribute: how.
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
        self.indexed = self.is_indexed or options.indexed
        self.roles = options.roles
        self.hidden = options.hidden
        self.enumerable = options.enumerable
        self.joined = options.joined
        self.computed = options.computed
        self.python_name = ""
        self.owner: type | None = None
        self.make_read: Callable[[Column[Any]], Read] | None = None
        self._read: Read | None = None

    @property
    def is_virtual(self) -> bool:
        """It is not stored: a relationship or computed."""
        return self.joined is not None or self.computed is not None

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
        if self.is_virtual:
            raise AttributeError(f"{self!r} is not stored: it is made from other attributes")
        instance._lyre_record()[self.attribute] = unwrap(value)

    def __delete__(self, instance: Wrapper) -> None:
        instance._lyre_record().pop(self.attribute, None)

    @property
    def path(self) -> tuple[str, ...]:
        """The attribute alone."""
        return (self.attribute,)

    def __repr__(self) -> str:
        owner = self.owner.__name__ if self.owner else "?"
        return f"{owner}.{self.python_name}"


class Col(Column[T]):
    """A plain column: ``value: Col[float]``, or ``Col[float | None]`` if it may be absent."""


class Indexed(Column[T]):
    """A column with an index: ``site: Indexed[str]``."""

    is_indexed = True


class Key(Column[T]):
    """The key: ``id: Key[str]``. A table without one has the undeclared key ``id``."""

    role = "primary key"


class Rel(Column[T]):
    """Records of another table: ``brand: Rel[Brand] = relationship(from_="brandId")``."""


class _Deadline(Column[T]):
    """With an annotation as other columns, or without one as times that the server sets."""

    def __init__(
        self,
        type: Any = datetime,
        options: FieldOptions | None = None,
        /,
        *,
        indexed: bool = False,
        name: str = "",
        description: str = "",
        roles: Sequence[str] = (),
        hidden: bool = False,
    ) -> None:
        if options is None:
            type = type | None
            options = field(
                name=name, description=description, indexed=indexed, roles=roles, hidden=hidden
            )
        super().__init__(type, options)


class ExpiresAt(_Deadline[T]):
    """When the record is gone, whatever the expiration of the table says.

    ``gone = ExpiresAt()`` may be absent or null; ``gone: ExpiresAt[datetime]`` is required
    and an argument to type checkers. ``float`` and ``int`` are epoch milliseconds.
    """

    role = "expires"

    if TYPE_CHECKING:
        # As for `CreatedTime`.
        @overload
        def __init__(
            self: ExpiresAt[datetime | None],
            type: type[datetime] = ...,
            /,
            *,
            indexed: bool = ...,
            name: str = ...,
            description: str = ...,
            roles: Sequence[str] = ...,
            hidden: bool = ...,
        ) -> None: ...
        @overload
        def __init__(
            self,
            type: type[T],
            /,
            *,
            indexed: bool = ...,
            name: str = ...,
            description: str = ...,
            roles: Sequence[str] = ...,
            hidden: bool = ...,
        ) -> None: ...
        def __init__(self, *arguments: Any, **options: Any) -> None: ...


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
        roles: Sequence[str] = (),
        hidden: bool = False,
    ) -> None:
        options = field(
            name=name, description=description, indexed=indexed, roles=roles, hidden=hidden
        )
        super().__init__(type, options)

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
            roles: Sequence[str] = ...,
            hidden: bool = ...,
        ) -> None: ...
        @overload
        def __init__(
            self,
            type: type[T],
            /,
            *,
            indexed: bool = ...,
            name: str = ...,
            description: str = ...,
            roles: Sequence[str] = ...,
            hidden: bool = ...,
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
            roles: Sequence[str] = ...,
            hidden: bool = ...,
        ) -> None: ...
        @overload
        def __init__(
            self,
            type: type[T],
            /,
            *,
            indexed: bool = ...,
            name: str = ...,
            description: str = ...,
            roles: Sequence[str] = ...,
            hidden: bool = ...,
        ) -> None: ...
        def __init__(self, *arguments: Any, **options: Any) -> None: ...


Columns = Mapping[str, Column[Any]]
"""By their Python names, in declared order."""
