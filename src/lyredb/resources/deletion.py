"""What a query finds, as the deletions of one transaction.

Each deletion says the version that the record had when the query matched it: a record that
was changed since may match no more, so then nothing is deleted and the query has to run
again. Where there are no conditions, any version is right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from lyredb.errors import TransactionTooLarge, WriteConflict
from lyredb.formats import PAUSE
from lyredb.plugins.context import Context
from lyredb.storage.keys import KeyValue, encode_full_key, is_short_form
from lyredb.storage.mutation import Kind, Mutation, Precondition
from lyredb.storage.record import decode_header
from lyredb.tables.query.terms import ID_NAME, Query, Select, Selected
from lyredb.tables.stored import StoredTable

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

ATTEMPTS: Final = 5
"""How often the query runs again because of others' writes."""


def keys_only(query: Query) -> Query:
    """Return a query that finds the same records and yields nothing but their keys."""
    return replace(query, select=Select((Selected(ID_NAME),), "values"), explain=False)


def is_conditional(query: Query) -> bool:
    """Tell whether it depends on what records hold which of them the query finds."""
    return query.where is not None or bool(query.sort)


class Deletions:
    """Makes the deletions of one query's results.

    Args:
        engine: Where the records are.
        table: Whose.
        context: Who deletes.
        max_records: In one transaction.
    """

    def __init__(
        self, engine: Engine, table: StoredTable, context: Context, max_records: int
    ) -> None:
        self._engine = engine
        self._table = table
        self._context = context
        self._max_records = max_records
        with engine.snapshot() as snapshot:
            self._before = snapshot.position

    async def of(self, found: Iterable[object], *, conditional: bool) -> list[Mutation]:
        """Return the deletions of the keys that a search yields, which began after this.

        Raises:
            TransactionTooLarge: It finds too many.
            WriteConflict: A record was written after the search began.
        """
        made: list[Mutation] = []
        for one in found:
            if one is PAUSE:
                await asyncio.sleep(0)
                continue
            mutation = self._deletion(cast("KeyValue", one), conditional=conditional)
            if mutation is not None:
                made.append(mutation)
            if len(made) > self._max_records:
                raise TransactionTooLarge(
                    f"the query finds more than the {self._max_records} records that one "
                    "transaction may delete; delete them in parts, with a limit"
                )
        return made

    def _deletion(self, found: KeyValue, *, conditional: bool) -> Mutation | None:
        table = self._table
        record_id = table.check_key(found)
        key = table.encode_key(record_id)
        stored = self._engine.record(table.slot, key)
        if stored is None:
            return None  # gone already
        header = decode_header(stored)
        if conditional and header.last_seq > self._before:
            raise WriteConflict("a record that the query finds is being changed by others")
        return Mutation(
            slot=table.slot,
            key=key,
            kind=Kind.DELETE,
            precondition=Precondition(read_version=header.version) if conditional else None,
            full_id=encode_full_key(record_id) if is_short_form(key) else b"",
            qos=1,
            user=self._context.user,
            session=self._context.session,
        )
