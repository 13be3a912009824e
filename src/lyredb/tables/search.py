"""A search that code builds up and runs: ``Sensor.where(Sensor.value > 30).limit(10)``.

A `Search` is a value: every method returns another one, and each iteration runs it anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeAlias, TypeVar, cast

from lyredb.errors import InvalidQuery, UnknownTopic
from lyredb.formats import PAUSE
from lyredb.tables.comparing import Comparable, Order, select_items
from lyredb.tables.query.format_url import format_url
from lyredb.tables.query.parse_object import (
    SelectLike,
    WhereLike,
    count_of,
    read_select,
    read_sort,
    read_where,
)
from lyredb.tables.query.terms import Condition, Query, SortKey, Where, conditions_in

if TYPE_CHECKING:
    from lyredb.tables.gateway import Gateway
    from lyredb.tables.handle import Subscription, TableHandle

T = TypeVar("T")
OrderLike: TypeAlias = Comparable[Any] | Order | SortKey | str
"""``Sensor.value``, ``Sensor.value.desc()``, or the name of an attribute."""


class Search(AsyncIterable[T], Generic[T]):
    """What is looked for in one table; ``async for`` over it, or `list`, `first`, `count`.

    Attributes:
        query: The same as a value, for whoever passes it on.
    """

    __slots__ = ("_gateway", "_handle", "_wrap", "query")

    def __init__(
        self,
        handle: TableHandle[Any],
        gateway: Gateway,
        query: Query,
        wrap: Callable[[dict[str, object]], Any] | None,
    ) -> None:
        self._handle = handle
        self._gateway = gateway
        self._wrap = wrap
        self.query = query

    def __repr__(self) -> str:
        return f"<search in {self._handle.name}>"

    def where(self, *conditions: WhereLike) -> Search[T]:
        """Look for what fulfils these conditions, too.

        Raises:
            InvalidQuery: A condition makes no sense, or is about another table.
        """
        more = self._checked(read_where(list(conditions)))
        before = self.query.where
        if before is not None and more is not None:
            more = before & more
        return self._with(where=before if more is None else more)

    def order_by(self, *keys: OrderLike) -> Search[T]:
        """Return the records in an order, in place of the one there was.

        Nulls and absent values come first, records that are equal in it by their keys.

        Args:
            keys: The first decides, the next among equals. ``column.desc()`` turns one round.
        """
        return self._with(sort=read_sort([self._sort_key(key) for key in keys]))

    def limit(self, count: int | None, offset: int = 0) -> Search[T]:
        """Return at most so many records, after having skipped some."""
        return self._with(
            limit=None if count is None else count_of("limit", count),
            offset=count_of("offset", offset),
        )

    def select(self, *names: SelectLike | Comparable[Any]) -> Search[Any]:
        """Return attributes instead of records.

        One name gives bare values, several names or a list dictionaries, a list in a list
        lists. ``Product.brand.select("name")`` selects of a related record.
        """
        found: Search[Any] = self._with(select=read_select(select_items(names)))
        found._wrap = self._handle.wrap if found.query.select is None else None
        return found

    def enforce_order(self) -> Search[T]:
        """Execute the conditions in the order in which they stand."""
        return self._with(enforce_order=True)

    def refuse_full_scan(self) -> Search[T]:
        """Refuse to look at the whole table: raise `UnknownAttribute` where no index helps."""
        return self._with(allow_full_scan=False)

    def __aiter__(self) -> Found[T]:
        """Run it."""
        return self.run()

    def run(self) -> Found[T]:
        """Run it: an async iterator, and a context manager that ends it early.

        Raises:
            InvalidQuery, UnknownAttribute: It makes no sense for this table.
        """
        return Found(self._gateway.find_records(self._handle.name, self.query), self._wrap)

    async def list(self) -> list[T]:
        """Return all that it finds."""
        return [record async for record in self.run()]

    async def first(self) -> T | None:
        """Return the first that it finds, ``None`` when there is none."""
        one: Search[T] = self._with(
            limit=1 if self.query.limit is None else min(1, self.query.limit)
        )
        async with one.run() as found:
            async for record in found:
                return record
        return None

    async def count(self) -> int:
        """Return how many it finds."""
        return await self._gateway.count_records(self._handle.name, self.query)

    async def explain(self) -> dict[str, Any]:
        """Return how it is executed: which index is used, what filters, how it is ordered."""
        query = replace(self.query, explain=True)
        async for explained in Found[Any](
            self._gateway.find_records(self._handle.name, query), None
        ):
            return cast("dict[str, Any]", explained)
        raise AssertionError("an explanation is one result")

    async def delete(self) -> int:
        """Delete what it finds, all or nothing; return how many records that were."""
        return await self._gateway.delete_records(self._handle.name, self.query)

    def subscribe(self) -> Subscription[T]:
        """Follow the whole table.

        Raises:
            InvalidQuery: It has conditions, an order or a select; changes cannot be filtered
                by those yet.
        """
        if self.query != Query():
            raise InvalidQuery(
                "only a search for everything can be subscribed to; subscribe to the table, a "
                "record or a prefix, and filter the events"
            )
        return self._handle.subscribe()

    def url(self) -> str:
        """Return the path and query with which HTTP gives the same: ``/Sensor/?value=gt=30``.

        Raises:
            UnknownTopic: The table is not exported.
            InvalidQuery: A value cannot be written in a URL.
        """
        path = self._gateway.path_of(self._handle.name)
        if path is None:
            raise UnknownTopic(f"{self._handle.name} is not exported and has no URL")
        text = format_url(self.query)
        return f"/{path}/?{text}" if text else f"/{path}/"

    def _with(self, **changes: Any) -> Search[Any]:
        return Search(self._handle, self._gateway, replace(self.query, **changes), self._wrap)

    def _checked(self, where: Where | None) -> Where | None:
        for condition in conditions_in(where):
            self._handle.require_own(condition)
        return where

    def _sort_key(self, given: OrderLike) -> SortKey | str:
        if isinstance(given, Comparable):
            given = given.asc()
        if isinstance(given, Order):
            self._handle.require_own(Condition(given.key.path, owner=given.owner))
            return given.key
        return given


class Found(AsyncIterator[T]):
    """The results of one run: an async iterator, read as far as one wants.

    Nothing is held while code has a record; `aclose`, or the end of an ``async with``,
    drops what is left.
    """

    __slots__ = ("_found", "_wrap")

    def __init__(
        self, found: Iterator[object], wrap: Callable[[dict[str, object]], Any] | None
    ) -> None:
        self._found = found
        self._wrap = wrap

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        for record in self._found:
            if record is PAUSE:
                await asyncio.sleep(0)
                continue
            return cast("T", self._wrap(cast("Any", record)) if self._wrap else record)
        raise StopAsyncIteration

    async def list(self) -> list[T]:
        """Return all that is left."""
        return [record async for record in self]

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
        """Drop what is left. A second call does nothing."""
        close = getattr(self._found, "close", None)
        self._found = iter(())
        if close is not None:
            close()
