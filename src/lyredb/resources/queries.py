"""Queries of whoever has a context: decided here, run by `lyredb.tables.query`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from lyredb.errors import InvalidQuery
from lyredb.formats import Pause
from lyredb.plugins.context import Context, Principal
from lyredb.resources.access import Access, Reader
from lyredb.resources.registry import Registry
from lyredb.resources.target import Target
from lyredb.resources.transaction import Transaction
from lyredb.resources.transaction_view import TransactionView
from lyredb.tables.query.costs import QueryLimits
from lyredb.tables.query.execute import count, explain, keys_of, search
from lyredb.tables.query.results import Results
from lyredb.tables.query.terms import Query
from lyredb.tables.query.view import View
from lyredb.tables.stored import StoredTable

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine


class Queries:
    """Runs queries.

    Args:
        engine: Where the tables are.
        registry: Knows related tables.
        access: Who may read what.
        limits: What one query may cost.
    """

    def __init__(
        self, engine: Engine, registry: Registry, access: Access, limits: QueryLimits
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._access = access
        self._limits = limits

    def search(
        self, target: Target, query: Query, context: Context, inside: Transaction | None = None
    ) -> Results:
        """Find matching records, or what the query selects of them, lazily.

        All of one position, which the results tell, and how they were read. Inside of a
        transaction that is its position, with what it has written on top.

        Raises:
            NotAuthorised: The principal may not read the table, a related one, or an
                attribute that a condition or the order names; on iteration, too, when it
                may not any more.
            InvalidQuery, UnknownAttribute, IndexRebuilding: At once, not on iteration.
            QueryTooCostly: At once or on iteration.
        """
        reader = self._reader(target, context.principal)
        found = search(
            self._engine,
            target.table,
            query,
            prefix=target.prefix,
            tables=self._table_named,
            readable=reader,
            limits=self._limits,
            views=View if inside is None else partial(TransactionView, inside),
        )
        found.readable = reader(target.table)
        found.gate = reader.require_still if inside is None else inside.require_usable
        return found

    def keys_of(self, target: Target, query: Query, context: Context) -> Results:
        """Return keys and versions of what a query finds; see `execute.keys_of`.

        Raises:
            LyreError: As `search`.
        """
        reader = self._reader(target, context.principal)
        found = keys_of(
            self._engine,
            target.table,
            query,
            prefix=target.prefix,
            tables=self._table_named,
            readable=reader,
            limits=self._limits,
        )
        found.gate = reader.require_still
        return found

    def explain(self, target: Target, query: Query, context: Context) -> dict[str, object]:
        """Return how `search` would find it.

        Raises:
            LyreError: As `search`.
        """
        return explain(
            self._engine,
            target.table,
            query,
            prefix=target.prefix,
            tables=self._table_named,
            readable=self._reader(target, context.principal),
            limits=self._limits,
        )

    def count(self, target: Target, query: Query, context: Context) -> Iterator[int | Pause]:
        """Yield `PAUSE`, and at last how many records a query finds, within its limit.

        Raises:
            LyreError: As `search`.
        """
        return count(
            self._engine,
            target.table,
            query,
            prefix=target.prefix,
            tables=self._table_named,
            readable=self._reader(target, context.principal),
            limits=self._limits,
        )

    def _reader(self, target: Target, principal: Principal) -> Reader:
        """Decide, and return what the engine asks of each table."""
        reader = self._access.reader(principal, target)
        reader(target.table)
        if target.kind not in ("collection", "table"):
            raise InvalidQuery("a query needs the path of a table or collection")
        return reader

    def _table_named(self, full_name: str) -> StoredTable | None:
        tables = self._registry.tables.values()
        return next((table for table in tables if table.name == full_name), None)
