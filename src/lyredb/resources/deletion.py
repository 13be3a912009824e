"""What a query finds, as the deletions of one transaction.

Each deletion says the version that the record had when the query matched it: a record that
was changed since may match no more, so then nothing is deleted and the query has to run
again. Where there are no conditions, any version is right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

from lyredb.errors import TransactionTooLarge, WriteConflict
from lyredb.plugins.context import Context
from lyredb.storage.keys import encode_full_key, is_short_form
from lyredb.storage.mutation import Applied, Kind, Mutation, Precondition
from lyredb.tables.query.execute import Found
from lyredb.tables.query.terms import ID_NAME, Query, Select, Selected
from lyredb.tables.stored import StoredTable

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
        table: Whose records they are.
        context: Who deletes.
        max_records: In one transaction.
        conditional: Only the version that was found may be deleted.
    """

    def __init__(
        self, table: StoredTable, context: Context, max_records: int, *, conditional: bool
    ) -> None:
        self._table = table
        self._context = context
        self._max_records = max_records
        self._conditional = conditional

    async def of(self, found: Iterable[object]) -> list[Mutation]:
        """Return the deletions of what `lyredb.tables.query.execute.keys_of` yields.

        Raises:
            TransactionTooLarge: It finds too many.
        """
        made: list[Mutation] = []
        for one in found:
            if not isinstance(one, Found):
                await asyncio.sleep(0)
                continue
            made.append(self._deletion(one))
            if len(made) > self._max_records:
                raise TransactionTooLarge(
                    f"the query finds more than the {self._max_records} records that one "
                    "transaction may delete; delete them in parts, with a limit"
                )
        return made

    def _deletion(self, found: Found) -> Mutation:
        key = found.encoded
        wanted = Precondition(read_version=found.version) if self._conditional else None
        return Mutation(
            slot=self._table.slot,
            key=key,
            kind=Kind.DELETE,
            precondition=wanted,
            full_id=encode_full_key(found.key) if is_short_form(key) else b"",
            qos=1,
            user=self._context.user,
            session=self._context.session,
        )


async def delete_found(
    find: Callable[[], Awaitable[Sequence[Mutation]]],
    commit: Callable[[Sequence[Mutation]], Awaitable[Applied]],
) -> int:
    """Delete what is found, looking again while others change it; return how many.

    Args:
        find: Runs the query and returns the deletions.
        commit: Commits a transaction.

    Raises:
        WriteConflict: Others changed what it finds all the time; nothing was deleted.
    """
    for _ in range(ATTEMPTS):
        deletions = await find()
        if not deletions:
            return 0
        try:
            applied = await commit(deletions)
        except WriteConflict:
            continue
        return sum(outcome.existed for outcome in applied.outcomes)
    raise WriteConflict("what the query finds is being changed by others; try again")
