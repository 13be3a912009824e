"""Running a query: from the conditions to the answer.

One planner and one executor for everybody: URLs, query objects, Python, deletes, and
filters of live changes. What is read is of one position, whatever is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

from lyredb.formats import PAUSE, Pause
from lyredb.storage.engine import Engine
from lyredb.storage.keys import KeyValue
from lyredb.storage.record import version_of
from lyredb.tables.query.access import Batches, ByIndex, ByScan
from lyredb.tables.query.costs import DEFAULT_LIMITS, Meter, QueryLimits, check_conditions
from lyredb.tables.query.order import (
    order_of,
    sort_bytes,
    sorted_rows,
    streamed_by_index,
    streamed_by_key,
)
from lyredb.tables.query.paths import ALL_READABLE, Names, Readable, TableOf
from lyredb.tables.query.plan import Plan, Planner
from lyredb.tables.query.predicate import Joins, RowTest, compile_filter, compile_test
from lyredb.tables.query.results import Results
from lyredb.tables.query.shaping import shape_of
from lyredb.tables.query.terms import Query, Where, conditions_in
from lyredb.tables.query.tree import Every, has_relation, tree_of
from lyredb.tables.query.view import FIRST_BATCH, Row, Shape, View
from lyredb.tables.stored import StoredTable


def no_tables(name: str) -> StoredTable | None:
    """Find no related table: for a table that is alone."""
    return None


Views = Callable[[Engine, Meter], View]
"""Makes what an answer reads; `View` itself, or what shows more than is committed."""


class Found(NamedTuple):
    """A record that a query finds: its key, the key as stored, and its version."""

    key: KeyValue
    encoded: bytes
    version: int


def search(
    engine: Engine,
    table: StoredTable,
    query: Query,
    *,
    prefix: str = "",
    tables: TableOf = no_tables,
    readable: Readable = ALL_READABLE,
    limits: QueryLimits = DEFAULT_LIMITS,
    views: Views = View,
) -> Results:
    """Return what the query finds, lazily; of a query with ``explain``, how it would.

    Args:
        engine: Where the table is.
        table: What is searched.
        query: Conditions, order, limit, select.
        prefix: Only ids that begin with this text; ends with a slash.
        tables: Finds related tables by their full names.
        readable: What may be read of each table.
        limits: What the query may cost.
        views: Makes what is read.

    Returns:
        Records as mappings, or what is selected of them, and `PAUSE`. All of one position.

    Raises:
        UnknownAttribute, InvalidQuery, NotAuthorised, IndexRebuilding: At once, not on
            iteration.
        QueryTooCostly: At once, or on iteration.
        PositionLost: On iteration: the log has moved past the beginning of the answer.
    """
    running = _Running(engine, table, query, prefix, tables, readable, limits, views)
    if query.explain:
        return running.explained()
    return running.results(running.shape(query), offset=query.offset, limit=query.limit)


def explain(
    engine: Engine,
    table: StoredTable,
    query: Query,
    *,
    prefix: str = "",
    tables: TableOf = no_tables,
    readable: Readable = ALL_READABLE,
    limits: QueryLimits = DEFAULT_LIMITS,
) -> dict[str, object]:
    """Return how `search` would do it.

    ``access`` (``key``, ``key range``, ``index``, ``union``, ``related``, ``scan`` or
    ``nothing``), its ``attribute`` and ``estimate`` of records; the ``conditions`` in the
    order in which they are asked, and by what; what ``filters``; how they come in ``order``
    (``sort``); ``joins``.

    Raises:
        UnknownAttribute, InvalidQuery, NotAuthorised, IndexRebuilding, QueryTooCostly: As
            `search`.
    """
    running = _Running(engine, table, query, prefix, tables, readable, limits)
    running.view.close()
    return running.plan.explain()


def count(
    engine: Engine,
    table: StoredTable,
    query: Query,
    *,
    prefix: str = "",
    tables: TableOf = no_tables,
    readable: Readable = ALL_READABLE,
    limits: QueryLimits = DEFAULT_LIMITS,
) -> Iterator[int | Pause]:
    """Yield `PAUSE`, and at last how many records the query finds, within its limit.

    Raises:
        UnknownAttribute, InvalidQuery, NotAuthorised, IndexRebuilding, QueryTooCostly: As
            `search`.
    """
    found = keys_of(
        engine, table, query, prefix=prefix, tables=tables, readable=readable, limits=limits
    )
    return _counted(found)


def _counted(found: Results) -> Iterator[int | Pause]:
    number = 0
    for one in found:
        if isinstance(one, Pause):
            yield PAUSE
        else:
            number += 1
    yield number


def keys_of(
    engine: Engine,
    table: StoredTable,
    query: Query,
    *,
    prefix: str = "",
    tables: TableOf = no_tables,
    readable: Readable = ALL_READABLE,
    limits: QueryLimits = DEFAULT_LIMITS,
    views: Views = View,
) -> Results:
    """Return the keys and versions of what a query finds, as `Found`, and `PAUSE`.

    Raises:
        UnknownAttribute, InvalidQuery, NotAuthorised, IndexRebuilding, QueryTooCostly: As
            `search`.
    """
    running = _Running(engine, table, query, prefix, tables, readable, limits, views)

    def shape(rows: list[Row]) -> list[object]:
        return [Found(table.key_of(*row), row[0], version_of(row[1])) for row in rows]

    return running.results(shape, offset=query.offset, limit=query.limit)


def predicate(
    engine: Engine,
    table: StoredTable,
    where: Where | None,
    *,
    tables: TableOf = no_tables,
    readable: Readable = ALL_READABLE,
    limits: QueryLimits = DEFAULT_LIMITS,
) -> RowTest:
    """Return whether a record matches, given its stored key and its stored form.

    For filters of changes. Related records are those of the time of each call.

    Raises:
        UnknownAttribute, InvalidQuery, NotAuthorised, QueryTooCostly: As `search`.
    """
    names = Names(tables, readable, limits)
    check_conditions(len(conditions_in(where)), limits)
    node = tree_of(where, table, names)
    if node is None:
        return lambda key, stored: True

    if not has_relation(node):
        return compile_test(node, table, Joins(View(engine, Meter(limits)), frozenset()))

    def matches(key: bytes, stored: bytes) -> bool:
        view = View(engine, Meter(limits))
        joins = Joins(view, engine.building)
        try:
            test = compile_test(node, table, joins)
            for join in joins.all:
                for _ in join.prepare():
                    pass
            return test(key, stored)
        finally:
            view.close()

    return matches


class _Running:
    """One query on its way: planned, and not yet begun.

    Attributes:
        view: What it reads.
        plan: How.
    """

    def __init__(
        self,
        engine: Engine,
        table: StoredTable,
        query: Query,
        prefix: str,
        tables: TableOf,
        readable: Readable,
        limits: QueryLimits,
        views: Views = View,
    ) -> None:
        check_conditions(len(conditions_in(query.where)), limits)
        self._table = table
        self._query = query
        self._names = Names(tables, readable, limits)
        self._names.mask(table)
        self._where = tree_of(query.where, table, self._names)
        order = order_of(query.sort, table, self._names)
        self.view = views(engine, Meter(limits))
        self._joins = Joins(self.view, engine.building)
        try:
            self.plan: Plan = Planner(self._joins).plan(table, self._where, order, query, prefix)
        finally:
            # The plan is about no position: the answer is of the one when it is first asked for.
            self.view.close()
            self.view = views(engine, self.view.meter)
            self._joins = Joins(self.view, engine.building)

    def shape(self, query: Query) -> Shape:
        """What makes a value of a record."""
        return shape_of(query.select, self._table, self._names, self._joins, self._where)

    def explained(self) -> Results:
        """The plan as the only value."""
        plan = self.plan.explain()
        return Results(self.view, iter([[(b"", b"")]]), lambda rows: [plan])

    def results(self, shape: Shape, *, offset: int, limit: int | None) -> Results:
        """What is found, each as `shape` makes it."""
        rows = self._rows()
        if not self.plan.filters and self._wanted is not None:
            # The first batch is all that is wanted, as far as it can be.
            self.view.batch = max(1, min(FIRST_BATCH, self._wanted))
        shape = self.view.noting(self._table, shape)
        return Results(self.view, rows, shape, offset=offset, limit=limit, prepare=self._prepare())

    @property
    def _wanted(self) -> int | None:
        """How many records are looked for, ``None`` for all."""
        query = self._query
        return None if query.limit is None else query.limit + query.offset

    def _prepare(self) -> Iterator[None]:
        for join in self._joins.all:
            yield from join.prepare()

    def _rows(self) -> Batches:
        plan, joins = self.plan, self._joins
        access = plan.access
        keep = self._keep()
        if plan.strategy == "none":
            return self._filtered(access.batches(joins), keep)
        if plan.strategy == "key":
            assert isinstance(access, ByScan), "the planner's"
            kept = self._filtered(access.batches(joins), keep)
            return streamed_by_key(kept, joins, reverse=access.reverse)
        if plan.strategy == "index" and len(plan.order) == 1:
            assert isinstance(access, ByIndex), "the planner's"
            encoder = partial(sort_bytes, plan.order, self._table, joins)
            return streamed_by_index(access, keep, encoder, joins, has_more_keys=False)
        encode = sort_bytes(plan.order, self._table, joins)
        if plan.strategy == "index":
            assert isinstance(access, ByIndex), "the planner's"
            return streamed_by_index(access, keep, lambda: encode, joins, has_more_keys=True)
        wanted = self._wanted
        kept = self._filtered(access.batches(joins), keep)
        return sorted_rows(kept, encode, joins, self._table.slot, wanted)

    def _keep(self) -> Callable[[list[Row]], list[Row]]:
        """The filter of a batch: conditions that the access does not cover, and the prefix."""
        plan, table, meter = self.plan, self._table, self.view.meter
        matching: Callable[[list[Row]], list[Row]] | None = None
        if plan.filters:
            keep_order = self._query.enforce_order
            node = plan.filters[0] if len(plan.filters) == 1 else Every(plan.filters)
            matching = compile_filter(node, table, self._joins, keep_order=keep_order)
        prefix = plan.prefix

        def keep(rows: list[Row]) -> list[Row]:
            kept = rows
            if matching is not None:
                kept = matching(kept)
            if prefix:
                kept = [row for row in kept if _begins(table, row, prefix)]
            if len(kept) != len(rows):
                meter.looked_at(0, len(kept) - len(rows))
            return kept

        return keep

    def _filtered(self, batches: Batches, keep: Callable[[list[Row]], list[Row]]) -> Batches:
        return (keep(rows) for rows in batches)


def _begins(table: StoredTable, row: Row, prefix: str) -> bool:
    return table.key_to_text(table.key_of(*row)).startswith(prefix)
