"""One table of one open database, for code: ``db[Sensor]`` and ``db.tables.Sensor``.

The two differ in the shape of a record only: an instance of a class, or a dictionary.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar, cast, overload

from lyredb.errors import InvalidQuery
from lyredb.storage.keys import KeyValue
from lyredb.tables.blob import blob_of
from lyredb.tables.computing import register_function
from lyredb.tables.gateway import Beginning, Event, EventSource, Gateway
from lyredb.tables.query.parse_object import SelectLike, WhereLike, read_query
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.query.terms import Condition, Query
from lyredb.tables.search import Search
from lyredb.tables.times import ms_of_date, parse_date
from lyredb.tables.validation import OPERATION

NOT_GIVEN: Final = object()
"""A second argument of ``put`` that was not passed; ``None`` is one that was."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Shape(Protocol[T_co]):
    """How records look to code."""

    def wrap(self, record: dict[str, object]) -> T_co:
        """Return the record as code sees it."""

    def unwrap(self, record: object) -> Mapping[str, object]:
        """Return what code passes as a record. Raises `TypeError`."""

    def attribute(self, name: str) -> str:
        """Return the name in records of a keyword argument."""

    @property
    def key(self) -> str:
        """The name of the key in records."""


class DictShape(Shape[dict[str, object]]):
    """Records as plain dictionaries.

    Args:
        key: The name of the key attribute.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def wrap(self, record: dict[str, object]) -> dict[str, object]:
        """Return the record itself."""
        return record

    def unwrap(self, record: object) -> Mapping[str, object]:
        """Return the record itself."""
        if isinstance(record, Mapping):
            return record
        raise TypeError(f"a record is a mapping, got {type(record).__name__}")

    def attribute(self, name: str) -> str:
        """Return the name itself."""
        return name

    @property
    def key(self) -> str:
        """The name of the key in records."""
        return self._key


class TableHandle(Generic[T]):
    """What code does with a table. Reads and writes as the super user."""

    __slots__ = ("_gateway", "_shape", "name")

    def __init__(self, gateway: Gateway, name: str, shape: Shape[T]) -> None:
        self._gateway = gateway
        self._shape = shape
        self.name = name

    def __repr__(self) -> str:
        return f"<table {self.name}>"

    def set_computed_attribute(self, name: str, function: Callable[[T], object], /) -> None:
        """Give the function that makes an attribute which is ``@computed`` without expression.

        It is called whenever the attribute is read, in this process; what it raises is
        logged, and the value is null then. The last function given counts.

        Args:
            name: The attribute.
            function: From a record to the value: something that a record could hold.
        """
        shape = self._shape
        register_function(
            self.name, shape.attribute(name), lambda record: function(shape.wrap(record))
        )

    async def get(self, id: KeyValue, /) -> T | None:
        """Return the record with this key, ``None`` when there is none.

        Raises:
            InvalidKey: The table cannot have this key.
        """
        record = await self._gateway.read_record(self.name, id)
        return None if record is None else self.wrap(record)

    @overload
    async def put(self, record: T, /) -> KeyValue: ...
    @overload
    async def put(self, id: KeyValue, record: T | Mapping[str, object], /) -> KeyValue: ...
    async def put(self, first: Any, record: Any = NOT_GIVEN, /) -> KeyValue:
        """Write a whole record, replacing what was there; return its key.

        ``put(record)`` takes the key from the record, and makes one when it has none.
        Returns once the record is on disk.

        Raises:
            InvalidKey, InvalidRecord: Nothing was written.
        """
        if record is None:
            raise TypeError("put needs a record, got None; delete(id) removes one")
        value = self._shape.unwrap(first if record is NOT_GIVEN else record)
        id = value.get(self._shape.key) if record is NOT_GIVEN else first
        if id is None:
            written = await self._gateway.write_record(self.name, "create", None, value)
        else:
            written = await self._gateway.write_record(
                self.name, "put", cast("KeyValue", id), value
            )
        return written.id

    async def patch(
        self, id: KeyValue, /, changes: Mapping[str, object] | None = None, **more: object
    ) -> None:
        """Set some attributes, and make the record when there is none.

        Args:
            id: The key.
            changes: By their names in records.
            more: By their Python names. ``None`` is an explicit null.

        Raises:
            InvalidKey, InvalidRecord: Nothing was written.
        """
        values = dict(changes or {})
        values |= {self._shape.attribute(name): plain(value) for name, value in more.items()}
        await self._gateway.write_record(self.name, "patch", id, values)

    async def add(self, id: KeyValue, /, **amounts: float) -> None:
        """Add to numbers of a record; what is absent counts as 0.

        Concurrent additions all count, whoever makes them.

        Raises:
            InvalidKey, InvalidRecord: Nothing was written.
        """
        values = {
            self._shape.attribute(name): {OPERATION: "add", "value": amount}
            for name, amount in amounts.items()
        }
        await self._gateway.write_record(self.name, "patch", id, values)

    async def delete(self, id: KeyValue, /) -> bool:
        """Delete a record; tell whether there was one."""
        return (await self._gateway.write_record(self.name, "delete", id)).existed

    async def publish(self, id: KeyValue | None, message: object, /) -> None:
        """Send a message that changes no record.

        Args:
            id: Whose topic; ``None`` for the table's own.
            message: A plain value or an instance; ``bytes`` are sent as they are.
        """
        await self._gateway.publish_message(self.name, id, plain(message))

    def subscribe(
        self,
        id: KeyValue | None = None,
        /,
        *,
        omit_current: bool = False,
        after: str = "",
        start_time: datetime | float | None = None,
        previous_count: int = 0,
    ) -> Subscription[T]:
        """Follow a record, those below a prefix (``"plant/"``), or the whole table.

        ::

            async with Sensor.subscribe("a") as events:
                async for event in events:
                    ...

        Current state comes first, then every change, without gap or double.

        Args:
            id: ``None`` for the table.
            omit_current: Changes only.
            after: The position of an event, to resume after it.
            start_time: Instead of current state, what was committed after this time: a
                date (without a zone: UTC) or epoch milliseconds. Current state after all
                when the log does not reach back so far.
            previous_count: Instead of current state, the last changes and messages, at most
                so many, 1 to 1000; together with `start_time` for one record only.

        Raises:
            InvalidQuery: It cannot begin so.
        """
        start_ms = None if start_time is None else _ms_of(start_time)
        start = Beginning(omit_current, after, start_ms, previous_count)
        source = self._gateway.follow_records(self.name, id, start)
        return Subscription(source, self.wrap)

    @overload
    def search(
        self,
        conditions: WhereLike | Iterable[WhereLike] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        select: None = None,
    ) -> Search[T]: ...
    @overload
    def search(
        self,
        conditions: WhereLike | Iterable[WhereLike] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        select: SelectLike,
    ) -> Search[Any]: ...
    def search(
        self,
        conditions: WhereLike | Iterable[WhereLike] | None = None,
        *,
        limit: int | None = None,
        offset: int = 0,
        select: SelectLike | None = None,
    ) -> Search[Any]:
        """Find records: ``async for sensor in Sensor.search(Sensor.site == "north")``.

        Args:
            conditions: ``Sensor.value > 3``, joined by ``&`` and ``|``, negated by ``~``; or
                ``("value", 3)``, ``("value", "gt", 3)``, an object of the query language,
                or a list of these that must all hold.
            limit: How many at most.
            offset: How many are skipped.
            select: A list of names gives dictionaries, one name the bare values.

        Raises:
            InvalidQuery: At once, when it makes no sense for any table; else when it runs.
        """
        found = self.where() if conditions is None else self.where(conditions)
        found = found.limit(limit, offset)
        return found if select is None else found.select(select)

    def where(self, *conditions: WhereLike | Iterable[WhereLike]) -> Search[T]:
        """Begin a search: ``Sensor.where(Sensor.value > 30).order_by(Sensor.site).limit(5)``.

        Raises:
            InvalidQuery: A condition makes no sense, or is about another table.
        """
        search: Search[T] = Search(self, self._gateway, Query(), self.wrap)
        return search.where(*cast("tuple[WhereLike, ...]", conditions))

    def query(self, query: Query | Mapping[str, object] | str) -> Search[Any]:
        """Begin a search with a query object, or with the text of a query in a URL.

        Raises:
            InvalidQuery: It makes no sense.
        """
        if isinstance(query, str):
            query = parse_query(query)
        elif not isinstance(query, Query):
            query = read_query(query)
        wrap = self.wrap if query.select is None else None
        return Search(self, self._gateway, query, wrap)

    def wrap(self, record: dict[str, object]) -> T:
        """Return a record as code sees it."""
        for name in self._gateway.blob_names(self.name):
            if name in record:
                record[name] = blob_of(record[name], self._gateway.read_blob)
        return self._shape.wrap(record)

    def require_own(self, condition: Condition) -> None:
        """Refuse the column of another table, which has a meaning here only by chance.

        Raises:
            InvalidQuery: The condition was made of one.
        """
        owner = condition.owner
        if owner is None or self.name in _names_of(owner):
            return
        if hasattr(owner, "_lyre_nested"):
            raise InvalidQuery(
                f"{owner.__name__} is a nested type; write the column that holds it before: "
                f"Table.column[{owner.__name__}.{condition.attribute}]"
            )
        raise InvalidQuery(
            f"{owner.__name__}.{condition.attribute} is a column of {owner.__name__}, and this "
            f"searches {self.name}"
        )


def _names_of(table: type[Any]) -> Iterator[str]:
    """The full names of a Table class and of those that inherit its columns."""
    options = getattr(table, "_lyre_options", None)
    if options is not None:
        yield options.full_name
    for derived in table.__subclasses__():
        yield from _names_of(derived)


class Subscription(AsyncIterator[Event[T]]):
    """Events as they happen: an async iterator and a context manager.

    A ``break`` out of ``async for`` leaves it open; the end of its ``async with`` block,
    or ``aclose()``, ends it.
    """

    __slots__ = ("_source", "_wrap")

    def __init__(self, source: EventSource, wrap: Callable[[dict[str, object]], T]) -> None:
        self._source = source
        self._wrap = wrap

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event[T]:
        event = await self._source.next_event()
        value = event.value
        if event.type == "put" and isinstance(value, dict):
            value = self._wrap(value)
        return Event(
            event.type,
            cast("T | None", value),
            event.id,
            event.position,
            event.current,
            event.left,
            event.reason,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the subscription. A second call does nothing."""
        await self._source.close()


def plain(value: object) -> object:
    """Return an instance of a Table or Nested class as its record, others as they are."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    record = getattr(type(value), "_lyre_record", None)
    return record(value) if record else value


def _ms_of(time: datetime | float) -> int:
    date = parse_date(time)
    if date is None:
        raise InvalidQuery(f"start_time must be a date or epoch milliseconds, got {time!r}")
    return int(ms_of_date(date) // 1)
