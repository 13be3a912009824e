"""The writing half of a node: the store, its writer, and who answers workers beside it.

In one process the node reads from the same engine (`server.node`); in a server of several
it is all that the writer process has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lyredb.errors import LyreError
from lyredb.resources.readmission import Readmission
from lyredb.sessions.claims_service import ClaimsService
from lyredb.storage.data_directory import DirectoryLock
from lyredb.storage.engine import Engine
from lyredb.storage.sequencer import CallService
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.schema import Schema

MAINTENANCE_S: Final = 10.0
"""How often an idle writer looks for old entries of the log to drop."""
MAINTENANCE_STEP_S: Final = 0.05
"""Between steps while there is more to do, so that writes are taken."""

_logger: Final = logging.getLogger(__name__)


class Store:
    """One data directory, open for writing.

    Attributes:
        engine: The store.
        writer: Orders and commits all writes.
        catalogue: The tables.
        claims: Which worker has which client id; there from `serve` on.
    """

    def __init__(self, engine: Engine, writer: Writer, catalogue: Catalogue) -> None:
        self.engine = engine
        self.writer = writer
        self.catalogue = catalogue
        self.claims: ClaimsService | None = None
        self._maintenance = asyncio.get_running_loop().create_task(self._maintain())

    @classmethod
    def open(
        cls,
        path: Path,
        schema: Schema,
        *,
        storage: StorageSettings | None = None,
        lock: DirectoryLock | None = None,
    ) -> Store:
        """Open or make the data directory and bring its tables to the schema.

        Must be called in a running event loop, which becomes the store's.

        Args:
            path: The data directory; made (0700) when missing.
            schema: The tables. Tables of an earlier schema stay, not exported.
            storage: Limits of the store.
            lock: The directory's, when this process holds it already.

        Raises:
            DataDirectoryInUse, FormatMismatch, SchemaError, StorageError.
        """
        engine = Engine.open(path, settings=storage or StorageSettings(), lock=lock)
        try:
            writer = Writer(engine, call_soon=next_tick(asyncio.get_running_loop()))
            return cls(engine, writer, Catalogue.open(engine, writer, schema))
        except BaseException:
            engine.close()
            raise

    def serve(self, service: CallService) -> None:
        """Answer what workers ask beside their writes."""
        loop = asyncio.get_running_loop()
        self.claims = ClaimsService(
            service,
            self.writer,
            call_later=loop.call_later,
            readmit=Readmission(self.engine, self.catalogue.by_slot),
        )

    async def _maintain(self) -> None:
        """Have old entries of the log dropped also while nobody writes."""
        while True:
            try:
                more = self.writer.maintain()
            except LyreError:
                _logger.exception("maintenance of the log failed")
                more = False
            await asyncio.sleep(MAINTENANCE_STEP_S if more else MAINTENANCE_S)

    async def close(self) -> None:
        """Commit what waits, and close. A second call does nothing."""
        self._maintenance.cancel()
        self.writer.close()
        await asyncio.gather(self._maintenance, return_exceptions=True)
        self.engine.close()


def next_tick(loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], None]], None]:
    """Return what calls its argument in the next tick of a loop."""

    def schedule(callback: Callable[[], None]) -> None:
        loop.call_soon(callback)

    return schedule
