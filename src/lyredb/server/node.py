"""A node: engine, writer, tables, tail, delivery and resources, put together.

Everything of one data directory in one process; used by ``lyredb.open()`` and by the
worker that has listeners. The writer runs inline: a group of writes is committed on
the event loop, which waits for the disk meanwhile (at most about 20 ms a group).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lyredb.delivery.hub import Hub
from lyredb.delivery.tail import Tail
from lyredb.errors import LyreError
from lyredb.resources.access import Access
from lyredb.resources.database import Database
from lyredb.resources.registry import Registry
from lyredb.storage.engine import Engine
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.schema import Schema

MAINTENANCE_S: Final = 10.0
"""How often an idle node looks for old entries of the log to drop."""
MAINTENANCE_STEP_S: Final = 0.05
"""Between steps while there is more to do, so that connections are served."""

_logger: Final = logging.getLogger(__name__)


class Node:
    """One open data directory with everything that works on it.

    Attributes:
        engine: The store.
        writer: The sequencer of all writes.
        tail: Delivers what the log gets.
        hub: Who gets what.
        registry: Which path is what.
        database: What protocols and code use.
    """

    def __init__(
        self, engine: Engine, writer: Writer, catalogue: Catalogue, *, open_topics: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        self.engine = engine
        self.writer = writer
        self.catalogue = catalogue
        registry = self.registry = Registry(catalogue.by_slot.values(), open_topics=open_topics)
        access = Access(registry)
        self.hub = Hub(access, registry, catalogue.by_slot, schedule_flush=_next_tick(loop))
        self.tail = Tail(engine, self.hub, schedule=_next_tick(loop))
        writer.on_commit(self.tail.poke)
        self.database = Database(engine, writer, registry, access, self.hub, self.tail)
        self._closed = False
        self._maintenance = loop.create_task(self._maintain())

    async def _maintain(self) -> None:
        """Have old entries of the log dropped also while nobody writes."""
        while True:
            try:
                more = self.writer.maintain()
            except LyreError:
                _logger.exception("maintenance of the log failed")
                more = False
            await asyncio.sleep(MAINTENANCE_STEP_S if more else MAINTENANCE_S)

    @classmethod
    def open(
        cls,
        path: Path,
        schema: Schema,
        *,
        storage: StorageSettings | None = None,
        open_topics: bool | None = None,
    ) -> Node:
        """Open or make the data directory and bring its tables to the schema.

        Must be called in a running event loop, which becomes the node's.

        Args:
            path: The data directory; made (0700) when missing.
            schema: The tables. Tables of an earlier schema stay, not exported.
            storage: Limits of the store.
            open_topics: Whether unknown topics are records of ``data.Topic``;
                ``None``: only when the schema has no tables.

        Raises:
            DataDirectoryInUse, FormatMismatch, SchemaError, StorageError.
        """
        engine = Engine.open(path, settings=storage or StorageSettings())
        try:
            writer = Writer(engine, call_soon=_next_tick(asyncio.get_running_loop()))
            catalogue = Catalogue.open(engine, writer, schema)
            wanted = not schema.tables if open_topics is None else open_topics
            return cls(engine, writer, catalogue, open_topics=wanted)
        except BaseException:
            engine.close()
            raise

    async def close(self) -> None:
        """Commit what waits, tell it to subscribers, end them, close the store."""
        if self._closed:
            return
        self._closed = True
        self._maintenance.cancel()
        self.writer.close()
        self.tail.advance_to(self.engine.position)
        self.hub.flush()
        self.database.close()
        await asyncio.gather(self._maintenance, return_exceptions=True)
        self.engine.close()


def _next_tick(loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], None]], None]:
    def schedule(callback: Callable[[], None]) -> None:
        loop.call_soon(callback)

    return schedule
