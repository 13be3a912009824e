"""``lyredb.open()``: a database in this process, without a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from lyredb.resources.embedded import EmbeddedDatabase
from lyredb.server.node import Node
from lyredb.storage.settings import StorageSettings
from lyredb.tables.binding import bind, unbind
from lyredb.tables.declare import Table
from lyredb.tables.schema import Schema
from lyredb.tables.source import load_schema


@asynccontextmanager
async def open(  # reads as ``lyredb.open(path)``
    path: str | Path,
    *,
    schema: str | Path | Sequence[type[Table]] = "",
    storage: StorageSettings | None = None,
    open_topics: bool | None = None,
) -> AsyncIterator[EmbeddedDatabase]:
    """Open a data directory in this process.

    The writer runs on the event loop, which waits for the disk during a commit (up to
    about 20 ms). The directory can be open in one process at a time.

    Args:
        path: The data directory; made when missing.
        schema: SDL text, the path of a ``.graphql`` or ``.py`` file or of a folder with
            such files, or Table classes.
        storage: Limits of the store.
        open_topics: Whether topics outside of all tables are records of
            ``data.Topic``; by default only without any table.

    Raises:
        SchemaError: The schema is wrong.
        DataDirectoryInUse: Another process has the directory open.
        FormatMismatch: It was written in a format that this version cannot read.
    """
    loaded = load_schema(schema) if schema else Schema()
    node = Node.open(Path(path), loaded, storage=storage, open_topics=open_topics)
    database = EmbeddedDatabase(node.database)
    bind(database, database)
    try:
        yield database
    finally:
        unbind(database)
        await node.close()
