"""Changes of the schema take effect here, in the order of the log.

The tail calls before it tells any later entry: what is written to a new table finds its
topics, and nothing of a table that is exported no more is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from lyredb.resources.access_watch import AccessTail
from lyredb.resources.database import Database
from lyredb.storage.entry import Entry
from lyredb.storage.mutation import Kind
from lyredb.tables.stored import StoredTable


def watch_schema(
    tail: AccessTail, reread: Callable[[], Iterable[StoredTable]], database: Database
) -> None:
    """Have changes of tables take effect.

    Args:
        tail: Of the log.
        reread: Reads the tables from the store, and returns all.
        database: That serves them.
    """

    def heed(entry: Entry) -> None:
        if entry.is_last:  # the rows of one change are one transaction
            database.tables_changed(reread())

    tail.on(Kind.SCHEMA, heed)
