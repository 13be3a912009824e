"""The writing half of a node: the store, its writer, and who answers workers beside it.

In one process the node reads from the same engine (`server.node`); in a server of several
it is all that the writer process has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lyredb.errors import DiskFull, InvalidTopic, LyreError, SchemaError
from lyredb.operations.broker import Broker
from lyredb.resources.readmission import Readmission
from lyredb.resources.registry import Registry
from lyredb.sessions.claims_service import ClaimsService
from lyredb.sessions.expiry import ROUND_S as SESSION_ROUND_S
from lyredb.sessions.expiry import SessionExpiry
from lyredb.sessions.groups_service import GroupsService
from lyredb.sessions.wills import kept_wills, row_name
from lyredb.storage.blob_files import BlobFiles
from lyredb.storage.blob_sweep import ORPHAN_AGE_S, BlobSweep
from lyredb.storage.data_directory import DirectoryLock
from lyredb.storage.engine import Engine
from lyredb.storage.expiry import Expiry
from lyredb.storage.sequencer import CallService
from lyredb.storage.settings import StorageSettings
from lyredb.storage.writer import Writer
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.schema import Schema

EXPIRY_S: Final = 0.25
"""How often it is looked whether removals are due; each is, at most once a second."""
RETIRE_S: Final = 300.0
"""How long a removed index stays after everybody has heard that it is removed: queries that
had begun before go on with it, and `queries.maxTime` does not count their clients' time."""
WILL_GRACE_S: Final = 30.0
"""Time for clients to come back after a start; a fleet of MQTT clients reconnects with
pauses of up to some 10 s, and their wills say that they are gone."""
SWEEP_STEP: Final = 1000
"""Files of blobs that are looked up in one go."""
MAINTENANCE_S: Final = 10.0
"""How often an idle writer looks for old entries of the log to drop."""
MAINTENANCE_STEP_S: Final = 0.05
"""Between steps while there is more to do, so that writes are taken."""

_CLOCK_TICK_S: Final = 0.1
_logger: Final = logging.getLogger(__name__)


class Store:
    """One data directory, open for writing.

    Attributes:
        engine: The store.
        writer: Orders and commits all writes.
        catalogue: The tables.
        expiry: Removes records that are gone.
        claims: Which worker has which client id; there from `serve` on.
        broker: Does what operators ask about clients; there from `serve` on.

    Args:
        engine: The store.
        writer: Orders and commits all writes.
        catalogue: The tables.
        passed: Tells whether every process that reads has been told of a log position.
        retire_s: As `RETIRE_S`.
    """

    def __init__(
        self,
        engine: Engine,
        writer: Writer,
        catalogue: Catalogue,
        *,
        passed: Callable[[int], bool],
        retire_s: float = RETIRE_S,
    ) -> None:
        self.engine = engine
        self.writer = writer
        self.catalogue = catalogue
        self.expiry = Expiry(engine, writer)
        self.claims: ClaimsService | None = None
        self.broker: Broker | None = None
        self._passed = passed
        self._retire_s = retire_s
        self._evolving = asyncio.Lock()
        loop = asyncio.get_running_loop()
        self._files = BlobFiles(engine.path)
        self._tasks = [
            loop.create_task(self._maintain()),
            loop.create_task(self._expire()),
            loop.create_task(self._sweep(0.0 if passed is _alone else ORPHAN_AGE_S)),
        ]
        self._retiring = loop.create_task(self._retire(engine.position))

    @classmethod
    def open(
        cls,
        path: Path,
        schema: Schema,
        *,
        storage: StorageSettings | None = None,
        lock: DirectoryLock | None = None,
        passed: Callable[[int], bool] | None = None,
        retire_s: float = RETIRE_S,
    ) -> Store:
        """Open or make the data directory and bring its tables to the schema.

        Must be called in a running event loop, which becomes the store's.

        Args:
            path: The data directory; made (0700) when missing.
            schema: The tables. Tables of an earlier schema stay, not exported.
            storage: Limits of the store.
            lock: The directory's, when this process holds it already.
            passed: Tells whether every process that reads has been told of a log position;
                ``None``: no other process reads.
            retire_s: As `RETIRE_S`.

        Raises:
            DataDirectoryInUse, FormatMismatch, SchemaError, StorageError.
        """
        engine = Engine.open(path, settings=storage or StorageSettings(), lock=lock)
        try:
            writer = Writer(engine, call_soon=next_tick(asyncio.get_running_loop()))
            has_readers = passed is not None
            catalogue = Catalogue.open(engine, writer, schema, has_readers=has_readers)
            return cls(engine, writer, catalogue, passed=passed or _alone, retire_s=retire_s)
        except BaseException:
            engine.close()
            raise

    def serve(self, service: CallService, *, will_grace_s: float = WILL_GRACE_S) -> None:
        """Answer what workers ask beside their writes.

        Args:
            service: Where they ask.
            will_grace_s: How long clients of the last run have to come back, before their
                wills are published.

        Raises:
            FormatMismatch: A will of the last run is in an unknown format.
        """
        loop = asyncio.get_running_loop()
        self.claims = ClaimsService(
            service,
            self.writer,
            call_later=loop.call_later,
            readmit=Readmission(self.engine, self.catalogue.by_slot),
            is_settled=self._is_settled,
        )
        self.broker = Broker(self.engine, self.writer, service, self.claims.forget)
        with self.engine.snapshot() as snapshot:
            wills = list(kept_wills(snapshot))
        self.claims.restore(wills, will_grace_s)
        groups = GroupsService(service, call_later=loop.call_later)
        self._tasks.append(loop.create_task(self._end_sessions(self.claims, groups)))

    async def _end_sessions(self, claims: ClaimsService, groups: GroupsService) -> None:
        """Have sessions removed whose time is over."""

        def is_claimed(client_id: str) -> bool:
            return claims.is_claimed(client_id) or groups.is_claimed(client_id)

        expiry = SessionExpiry(
            self.engine,
            self.writer,
            is_claimed=is_claimed,
            on_removed=claims.end_session,
        )
        pause_s = SESSION_ROUND_S
        while True:
            # Workers announce their claims first, when only this process was started anew.
            await asyncio.sleep(pause_s)
            try:
                pause_s = expiry.step()
            except LyreError:
                _logger.exception("the removal of sessions that are over failed")

    def _is_settled(self, epoch: int) -> bool:
        with self.engine.snapshot() as snapshot:
            return snapshot.session_row(row_name(epoch)) is None

    async def evolve(self, schema: Schema) -> list[str]:
        """Bring the store to another schema while it is in use; return the changed tables.

        Returns when it is in the log. Indexes are built after that, between writes.

        Raises:
            SchemaError: It cannot be brought there. The schema in force stays so.
            StorageError: It could not be written; as above.
        """
        async with self._evolving:
            planned = self.catalogue.plan(self.engine, schema)
            try:
                Registry(planned.tables, open_topics=False)
            except InvalidTopic as error:
                raise SchemaError(str(error)) from error
            position = await self.catalogue.evolve(self.engine, self.writer, planned)
            self.catalogue.reread(self.engine)
            if planned.rows:
                self._retiring.cancel()
                self._retiring = asyncio.get_running_loop().create_task(self._retire(position))
            return planned.changed

    async def _retire(self, position: int) -> None:
        """Remove what is declared no more once nobody reads by the schema that declared it."""
        while not self._passed(position):  # noqa: ASYNC110 - told by memory that processes share
            await asyncio.sleep(1.0)
        await asyncio.sleep(self._retire_s)
        while True:
            try:
                if self.catalogue.retire(self.engine):
                    self.writer.wake()
            except DiskFull as error:
                _logger.debug("removed indexes stay for now: %s", error)
            except LyreError:
                _logger.exception("removed indexes stay until the next start")
                return
            await asyncio.sleep(self._retire_s)  # deadlines that are left go one by one

    async def _expire(self) -> None:
        """Have records removed whose time has come."""
        while True:
            try:
                self.expiry.tick()
            except LyreError:
                _logger.exception("the removal of records that are gone failed")
            await asyncio.sleep(EXPIRY_S)

    async def _maintain(self) -> None:
        """Have old entries of the log dropped also while nobody writes."""
        while True:
            try:
                more = self.writer.maintain()
            except LyreError:
                _logger.exception("maintenance of the log failed")
                more = False
            await asyncio.sleep(MAINTENANCE_STEP_S if more else MAINTENANCE_S)

    async def _sweep(self, age_s: float) -> None:
        """Remove the files of blobs that nothing needs; orphans at the start and each hour.

        Args:
            age_s: Of orphans at the start. Where no other process can be writing one, those
                of before are nobody's, however young.
        """
        sweep = BlobSweep(self.engine, self._files)
        next_orphans = 0.0
        while True:
            try:
                if time.monotonic() >= next_orphans:
                    await self._sweep_orphans(sweep, age_s)
                    next_orphans, age_s = time.monotonic() + ORPHAN_AGE_S, ORPHAN_AGE_S
                more = await self._sweep_dropped(sweep)
            except LyreError:
                _logger.exception("files of blobs that nothing needs stay for now")
                more = False
            await asyncio.sleep(MAINTENANCE_STEP_S if more else MAINTENANCE_S)

    async def _sweep_dropped(self, sweep: BlobSweep) -> bool:
        """Remove some files; tell whether there may be more."""
        names = sweep.due()
        if not names:
            return False
        removed: bool = await asyncio.to_thread(sweep.remove, names)
        if removed:
            sweep.forget(names)
        return removed

    async def _sweep_orphans(self, sweep: BlobSweep, age_s: float) -> None:
        # The times of files come from a clock that may be a tick behind.
        before = time.time() - max(age_s, _CLOCK_TICK_S)
        old = await asyncio.to_thread(sweep.old_files, before)
        for at in range(0, len(old), SWEEP_STEP):
            orphans = sweep.without_row(old[at : at + SWEEP_STEP])
            if orphans:
                count = await asyncio.to_thread(sweep.remove_orphans, orphans)
                _logger.info("removed %d files of blobs that no commit knows", count)
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Commit what waits, and close. A second call does nothing."""
        tasks = [*self._tasks, self._retiring]
        for task in tasks:
            task.cancel()
        self.writer.close()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.broker is not None:
            await self.broker.close()
        self.engine.close()


def _alone(position: int) -> bool:
    """Every process that reads is this one, whose tail goes on by itself."""
    return True


def next_tick(loop: asyncio.AbstractEventLoop) -> Callable[[Callable[[], None]], object]:
    """Return what calls its argument in the next tick of a loop."""
    # No function around it: that is one more call for each message that comes alone.
    return loop.call_soon
