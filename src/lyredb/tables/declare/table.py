"""Tables as typed classes, and what can be done with the one open database's table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Never, Self, dataclass_transform, overload

from lyredb.storage.keys import KeyValue
from lyredb.tables.binding import gateway_for
from lyredb.tables.computing import register_function
from lyredb.tables.declare.arguments import refuse_unknown, require_type
from lyredb.tables.declare.columns import Column, Key
from lyredb.tables.declare.fields import Fields
from lyredb.tables.declare.options import GENERATED, computed, field, relationship
from lyredb.tables.declare.places import schema_error
from lyredb.tables.handle import NOT_GIVEN, Shape, Subscription, TableHandle
from lyredb.tables.query.parse_object import SelectLike, WhereLike
from lyredb.tables.query.terms import Query
from lyredb.tables.schema import DEFAULT_DATABASE, DEFAULT_KEY, Export
from lyredb.tables.search import Search

_ARGUMENTS: Final = (
    "export",
    "sealed",
    "expires_s",
    "database",
    "name",
    "eviction_s",
    "scan_interval_s",
    "split_segments",
    "hidden",
)


@dataclass(frozen=True, slots=True)
class Options:
    """The class arguments of a table."""

    name: str
    database: str
    export: Export | None
    expires_s: int
    sealed: bool
    eviction_s: int = 0
    scan_interval_s: int = 0
    split_segments: bool = False
    hidden: bool = False

    @property
    def full_name(self) -> str:
        """``<database>.<table>``."""
        return f"{self.database}.{self.name}"


@dataclass_transform(kw_only_default=True, field_specifiers=(field, relationship, computed))
class Table(Fields):
    """Base of tables: ``class Sensor(Table, export=True): id: Key[str]``.

    The methods work where exactly one open database has the table; ``db[Sensor]`` has
    the same ones for a database of choice.

    Class arguments:
        export: ``True`` exports under the class's name, text under that path, an
            `Export` says it all. Without it only code in the process has the table.
        sealed: Refuses undeclared attributes.
        expires_s: Seconds after its last write until a record is gone, 0 for never.
        database: That it belongs to.
        name: Of the table, when it is not the class's own.
        eviction_s: Seconds that a record that is gone is kept besides.
        scan_interval_s: Seconds between removals of what is gone, 0 for the default.
        split_segments: Keys with slashes are lists of their segments.
        hidden: Left out of documents that describe the interface, and used as others.
    """

    __slots__ = ()
    _lyre_options: ClassVar[Options]

    def __init_subclass__(
        cls,
        *,
        export: bool | str | Export = False,
        sealed: bool = False,
        expires_s: int = 0,
        database: str = DEFAULT_DATABASE,
        name: str = "",
        eviction_s: int = 0,
        scan_interval_s: int = 0,
        split_segments: bool = False,
        hidden: bool = False,
        **unknown: Never,
    ) -> None:
        super().__init_subclass__()
        refuse_unknown(cls, unknown, _ARGUMENTS)
        require_type(cls, "export", export, bool, str, Export)
        require_type(cls, "sealed", sealed, bool)
        require_type(cls, "expires_s", expires_s, int)
        require_type(cls, "database", database, str)
        require_type(cls, "name", name, str)
        require_type(cls, "eviction_s", eviction_s, int)
        require_type(cls, "scan_interval_s", scan_interval_s, int)
        require_type(cls, "split_segments", split_segments, bool)
        require_type(cls, "hidden", hidden, bool)
        if export is True:
            export = cls.__name__
        cls._lyre_options = Options(
            name=name or cls.__name__,
            database=database,
            export=Export(export) if isinstance(export, str) else export or None,
            expires_s=expires_s,
            sealed=sealed,
            eviction_s=eviction_s,
            scan_interval_s=scan_interval_s,
            split_segments=split_segments,
            hidden=hidden,
        )
        cls._lyre_declare(sys._getframe(1).f_locals, _RESERVED)

    @classmethod
    def set_computed_attribute(cls, name: str, function: Callable[[Self], object], /) -> None:
        """Give the function that makes a column which was declared by ``computed()``.

        It is called whenever the column is read, in this process; what it raises is logged,
        and the value is null then. The last function given counts.

        Args:
            name: The column's name in the class.
            function: From an instance to the value: something that a record could hold.

        Raises:
            SchemaError: There is no such column, or it has an expression.
        """
        column = cls._lyre_columns.get(name)
        if column is None or column.computed is None or column.computed.expression:
            raise schema_error("only a column that is = computed() has a function", cls, name)
        register_function(
            table_name(cls), column.attribute, lambda record: function(cls.from_dict(record))
        )

    @classmethod
    async def get(cls, id: KeyValue, /) -> Self | None:
        """Return the record with this key; see `TableHandle.get`."""
        return await _handle(cls).get(id)

    @overload
    @classmethod
    async def put(cls, record: Self, /) -> KeyValue: ...
    @overload
    @classmethod
    async def put(cls, id: KeyValue, record: Self | Mapping[str, object], /) -> KeyValue: ...
    @classmethod
    async def put(cls, first: Any, record: Any = NOT_GIVEN, /) -> KeyValue:
        """Write a whole record and return its key; see `TableHandle.put`."""
        handle = _handle(cls)
        return await (handle.put(first) if record is NOT_GIVEN else handle.put(first, record))

    @classmethod
    async def patch(
        cls, id: KeyValue, /, changes: Mapping[str, object] | None = None, **more: object
    ) -> None:
        """Set some attributes of a record; see `TableHandle.patch`."""
        await _handle(cls).patch(id, changes, **more)

    @classmethod
    async def add(cls, id: KeyValue, /, **amounts: float) -> None:
        """Add to numbers of a record; see `TableHandle.add`."""
        await _handle(cls).add(id, **amounts)

    @classmethod
    async def delete(cls, id: KeyValue, /) -> bool:
        """Delete a record; tell whether there was one."""
        return await _handle(cls).delete(id)

    @classmethod
    async def publish(cls, id: KeyValue | None, message: object, /) -> None:
        """Send a message that changes no record; see `TableHandle.publish`."""
        await _handle(cls).publish(id, message)

    @classmethod
    def subscribe(
        cls,
        id: KeyValue | None = None,
        /,
        *,
        omit_current: bool = False,
        after: str = "",
        start_time: datetime | float | None = None,
        previous_count: int = 0,
    ) -> Subscription[Self]:
        """Follow a record or the table; see `TableHandle.subscribe`."""
        return _handle(cls).subscribe(
            id,
            omit_current=omit_current,
            after=after,
            start_time=start_time,
            previous_count=previous_count,
        )

    @overload
    @classmethod
    def search(
        cls,
        conditions: WhereLike | Iterable[WhereLike] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        select: None = None,
    ) -> Search[Self]: ...
    @overload
    @classmethod
    def search(
        cls,
        conditions: WhereLike | Iterable[WhereLike] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        select: SelectLike,
    ) -> Search[Any]: ...
    @classmethod
    def search(
        cls,
        conditions: WhereLike | Iterable[WhereLike] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        select: SelectLike | None = None,
    ) -> Search[Any]:
        """Find records; see `TableHandle.search`."""
        handle = _handle(cls)
        if select is None:
            return handle.search(conditions, limit=limit, offset=offset)
        return handle.search(conditions, limit=limit, offset=offset, select=select)

    @classmethod
    def where(cls, *conditions: WhereLike | Iterable[WhereLike]) -> Search[Self]:
        """Begin a search; see `TableHandle.where`."""
        return _handle(cls).where(*conditions)

    @classmethod
    def query(cls, query: Query | Mapping[str, object] | str) -> Search[Any]:
        """Begin a search with a query object or the text of one; see `TableHandle.query`."""
        return _handle(cls).query(query)


_RESERVED = frozenset(dir(Table))


class ClassShape(Shape[Any]):
    """Records of a table as instances of its class."""

    __slots__ = ("_class", "_key", "_virtual")

    def __init__(self, table: type[Table]) -> None:
        self._class = table
        self._key = key_attribute(table)
        columns: list[Column[Any]] = table._columns()
        self._virtual = frozenset(one.attribute for one in columns if one.is_virtual)

    def wrap(self, record: dict[str, object]) -> Table:
        """Return the instance of a record."""
        return self._class.from_dict(record)

    def unwrap(self, record: object) -> Mapping[str, object]:
        """Return the record of an instance."""
        if isinstance(record, self._class):
            values = record._lyre_record()
            left_out = self._virtual  # what was read with a record is not written with it
            if values.get(self._key) is GENERATED:
                left_out |= {self._key}
            if left_out.isdisjoint(values):
                return values
            return {name: one for name, one in values.items() if name not in left_out}
        if isinstance(record, Mapping):
            return record
        kind = type(record).__name__
        raise TypeError(f"expected a {self._class.__name__} or a mapping, got {kind}")

    def attribute(self, name: str) -> str:
        """Return the record's name of a column."""
        column = self._class._lyre_columns.get(name)
        return column.attribute if column else name

    @property
    def key(self) -> str:
        """The name of the key in records."""
        return self._key


def key_attribute(table: type[Table]) -> str:
    """Return the name of the key attribute of a class."""
    columns: list[Column[Any]] = table._columns()
    return next((one.attribute for one in columns if isinstance(one, Key)), DEFAULT_KEY)


def table_name(table: type[Table]) -> str:
    """Return ``<database>.<table>`` of a class."""
    return table._lyre_options.full_name


def _handle(table: type[Any]) -> TableHandle[Any]:
    name = table_name(table)
    return TableHandle(gateway_for(name), name, ClassShape(table))
