"""The writer: every mutation of a node goes through here, in groups.

What waits in the same tick of the loop is one group and one fsync. The order is always:
the commit is on disk, then the replies in order of arrival, then the poke that tells
readers of the new position. An LMDB write transaction belongs to its thread, so all
methods run on the thread that opened the engine; a group holds it for at most 20 ms.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from lyredb.errors import EngineClosed, LyreError, StorageFailed, WriteConflict
from lyredb.storage.apply import Rows
from lyredb.storage.commit import Committer, Request
from lyredb.storage.lanes import Lanes
from lyredb.storage.leases import IntegerLeases
from lyredb.storage.limits import check_limits, measure
from lyredb.storage.maintenance import Maintenance
from lyredb.storage.mutation import Applied, Mutation
from lyredb.storage.pokes import Pokes
from lyredb.storage.sequencer import Result, SequencerStatistics, committed

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WriterStatistics(SequencerStatistics):
    """Numbers of a writer since it was made.

    Attributes:
        groups: Commits of what waited; the fsyncs are at most these and maintenance.
    """

    groups: int


class Writer:
    """Collects transactions and commits them in groups.

    Args:
        engine: The engine, which nobody else writes.
        call_soon: Runs a function in the next tick, such as ``loop.call_soon``.
    """

    def __init__(
        self, engine: Engine, *, call_soon: Callable[[Callable[[], None]], object]
    ) -> None:
        self._engine = engine
        self._call_soon = call_soon
        self._maintenance = Maintenance(engine)
        self._committer = Committer(engine, self._maintenance.note_logged)
        self._lanes = Lanes()
        self._scheduled = False
        self._busy = False
        self._closed = False
        self._pokes = Pokes()
        self.leases = IntegerLeases(engine)
        self._groups = self._transactions = self._rejected = self._conflicts = 0

    @property
    def failure(self) -> str:
        """Why the engine is read-only, or empty."""
        return self._engine.failure

    def submit(
        self,
        transaction: Sequence[Mutation],
        on_reply: Callable[[Result], None],
        *,
        session_rows: Rows = (),
        bulk: bool = False,
    ) -> None:
        """Take a transaction into one of the next groups; see `Sequencer.submit`.

        Raises:
            Overloaded: Too much is waiting; nothing was taken.
            TransactionTooLarge: It can never be taken.
            EngineClosed: The writer or the engine is closed.
            StorageFailed: The engine is read-only.
        """
        mutations, size = measure(transaction, session_rows)
        self.take(Request(transaction, on_reply, session_rows, mutations, size, bulk))

    def take(self, request: Request) -> None:
        """Take a request; see `submit`."""
        self._check(request)
        self._lanes.add(request)
        if not self._scheduled:
            self._schedule()

    def refuse(self, request: Request, reason: LyreError) -> None:
        """Answer a request with an error when it would have been its turn."""
        refused = replace(
            request, transaction=(), session_rows=(), mutations=0, size_bytes=0, refusal=reason
        )
        self._lanes.add(refused)
        self._schedule()

    async def commit(
        self, transaction: Sequence[Mutation], *, session_rows: Rows = (), bulk: bool = False
    ) -> Applied:
        """Submit a transaction and wait until it is on disk; see `Sequencer.commit`.

        Raises:
            LyreError: It was rejected, or the engine failed.
        """
        return await committed(self, transaction, session_rows=session_rows, bulk=bulk)

    def on_commit(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback` called with the new position after each commit's replies.

        Returns:
            A function that ends it.
        """
        return self._pokes.add(callback)

    def lease_integers(self, slot: int, on_lease: Callable[[range | LyreError], None]) -> None:
        """Lease a block of integer keys, before this returns; see `Sequencer`."""
        try:
            lease: range | LyreError = self.leases.lease(slot, durable=False)
        except LyreError as error:
            lease = error
        on_lease(lease)

    def commit_now(self) -> None:
        """Commit all that waits, in as many groups as it takes, before returning.

        Does nothing inside a reply or a poke: what these submit goes into a later group.
        """
        while self._lanes and not self._busy:
            self._commit_group()

    def maintain(self) -> bool:
        """Do one bounded step of maintenance; tell whether more is due.

        The writer does it by itself after groups; an idle server calls it now and then,
        so that old entries go away also when nothing is written.
        """
        return not self._busy and self._maintenance.step(self._committer)

    def wake(self) -> None:
        """Have maintenance go on from the next tick, step by step until nothing is due."""
        self._schedule()

    def close(self) -> None:
        """Commit what waits, and refuse everything from here on. The engine stays open."""
        if not self._closed:
            self.commit_now()
            self._closed = True

    async def drain(self, within_s: float) -> bool:
        """Close; all is answered on return, however long the disk takes."""
        self.close()
        return True

    @property
    def maintenance(self) -> Maintenance:
        """What is done between groups; offers the index of the log."""
        return self._maintenance

    def statistics(self) -> WriterStatistics:
        """Return the numbers of this moment."""
        return WriterStatistics(
            transactions=self._transactions,
            rejected=self._rejected,
            conflicts=self._conflicts,
            waiting=len(self._lanes),
            waiting_bytes=self._lanes.size_bytes,
            groups=self._groups,
        )

    def _check(self, request: Request) -> None:
        engine, lanes = self._engine, self._lanes
        if self._closed or engine.is_closed:
            raise EngineClosed("the database is closed; nothing was written")
        if engine.failure:
            raise StorageFailed(engine.failure)
        check_limits(
            request.mutations,
            request.size_bytes,
            lanes.mutations,
            lanes.size_bytes,
            engine.settings,
        )

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._call_soon(self._tick)

    def _tick(self) -> None:
        """Commit one group, or do one step of maintenance when nothing waits.

        Between two groups there is at most one step, so that neither starves.
        """
        self._scheduled = False
        if self._busy:
            return
        if self._lanes:
            self._commit_group()
        more = self._maintenance.step(self._committer)
        if self._lanes or more:
            self._schedule()

    def _commit_group(self) -> None:
        self._busy = True
        try:
            before = self._engine.position
            group = self._lanes.next_group(self._engine.settings.group_mutations)
            results = self._committer.commit(group)
            self._reply(group[: len(results)], results)
            if self._engine.position != before:
                self._pokes.tell(self._engine.position)
        finally:
            self._busy = False
        if self._lanes:
            self._schedule()

    def _reply(self, requests: Sequence[Request], results: Sequence[Result]) -> None:
        self._groups += 1
        self._transactions += len(results)
        self._lanes.remove(requests)
        for request, result in zip(requests, results, strict=True):
            if isinstance(result, LyreError):
                self._rejected += 1
                self._conflicts += isinstance(result, WriteConflict)
            try:
                if request.origin is not None:
                    request.origin.reply(request.number, result)
                elif request.on_reply is not None:
                    request.on_reply(result)
            except Exception:
                _logger.exception("the owner of a transaction failed at its reply")
