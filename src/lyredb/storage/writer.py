"""The writer: every mutation of a node goes through here, in groups.

What waits in the same tick of the loop is one group and one fsync. The order is always:
the commit is on disk, then the replies in order of arrival, then the poke that tells
readers of the new position. An LMDB write transaction belongs to its thread, so all
methods run on the thread that opened the engine; a group holds it for at most 20 ms.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from lyredb.errors import EngineClosed, LyreError, Overloaded, StorageFailed, TransactionTooLarge
from lyredb.storage.apply import Rows
from lyredb.storage.commit import Committer, Request, Result
from lyredb.storage.maintenance import Maintenance
from lyredb.storage.mutation import Applied, Mutation

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """Numbers of a writer since it was made."""

    groups: int
    transactions: int
    rejected: int
    waiting: int
    waiting_bytes: int


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
        self._waiting: deque[Request] = deque()
        self._waiting_mutations = 0
        self._waiting_bytes = 0
        self._scheduled = False
        self._busy = False
        self._closed = False
        self._pokes: dict[object, Callable[[int], None]] = {}
        self._groups = self._transactions = self._rejected = 0

    def submit(
        self,
        transaction: Sequence[Mutation],
        on_reply: Callable[[Result], None],
        *,
        session_rows: Rows = (),
    ) -> None:
        """Take a transaction into the next group.

        Args:
            transaction: At least one mutation, or none when there are session rows.
                Preconditions are checked against the state before the transaction;
                all of it is done or nothing.
            on_reply: Called once, after the commit is on disk, with what was applied or
                with the error; replies come in the order of the calls of `submit`.
            session_rows: Rows of sessions' progress to put (``None`` deletes) in the
                same commit, without a log entry.

        Raises:
            Overloaded: Too much is waiting; nothing was taken.
            TransactionTooLarge: It can never be taken.
            EngineClosed: The writer or the engine is closed.
            StorageFailed: The engine is read-only.
        """
        request = Request(
            transaction,
            on_reply,
            session_rows,
            _size_of(transaction, session_rows),
        )
        self._check(request)
        self._waiting.append(request)
        self._waiting_mutations += len(transaction)
        self._waiting_bytes += request.size_bytes
        self._schedule()

    async def commit(self, transaction: Sequence[Mutation], *, session_rows: Rows = ()) -> Applied:
        """Submit a transaction and wait until it is on disk; see `submit`.

        A cancelled wait does not take the transaction back.

        Raises:
            LyreError: It was rejected, or the engine failed.
        """
        future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()

        def resolve(result: Result) -> None:
            if future.cancelled():
                return
            if isinstance(result, Applied):
                future.set_result(result)
            else:
                future.set_exception(result)

        self.submit(transaction, resolve, session_rows=session_rows)
        return await future

    def on_commit(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback` called with the new position after each commit's replies.

        Returns:
            A function that ends it.
        """
        token = object()
        self._pokes[token] = callback
        return partial(self._forget, token)

    def _forget(self, token: object) -> None:
        self._pokes.pop(token, None)

    def commit_now(self) -> None:
        """Commit all that waits, in as many groups as it takes, before returning.

        Does nothing inside a reply or a poke: what these submit goes into a later group.
        """
        while self._waiting and not self._busy:
            self._commit_group()

    def maintain(self) -> bool:
        """Do one bounded step of retention or log indexing; tell whether more is due.

        The writer does it by itself after groups; an idle server calls it now and then,
        so that old entries go away also when nothing is written.
        """
        return not self._busy and self._maintenance.step(self._committer)

    def close(self) -> None:
        """Commit what waits, and refuse everything from here on. The engine stays open."""
        if not self._closed:
            self.commit_now()
            self._closed = True

    @property
    def maintenance(self) -> Maintenance:
        """What is done between groups; offers the index of the log."""
        return self._maintenance

    def statistics(self) -> WriterStatistics:
        """Return the numbers of this moment."""
        return WriterStatistics(
            groups=self._groups,
            transactions=self._transactions,
            rejected=self._rejected,
            waiting=len(self._waiting),
            waiting_bytes=self._waiting_bytes,
        )

    def _check(self, request: Request) -> None:
        settings = self._engine.settings
        if self._closed or self._engine.is_closed:
            raise EngineClosed("the database is closed; nothing was written")
        if self._engine.failure:
            raise StorageFailed(self._engine.failure)
        mutations = len(request.transaction)
        if (
            mutations > settings.max_transaction_mutations
            or request.size_bytes > settings.max_transaction_bytes
        ):
            raise TransactionTooLarge(
                f"a transaction may have {settings.max_transaction_mutations} mutations and "
                f"{settings.max_transaction_bytes} bytes, "
                f"this one has {mutations} and {request.size_bytes}"
            )
        if self._waiting and (
            self._waiting_mutations + mutations > settings.max_outstanding_mutations
            or self._waiting_bytes + request.size_bytes > settings.max_outstanding_bytes
        ):
            raise Overloaded("too many writes are waiting; try again in a moment")

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
        if self._waiting:
            self._commit_group()
        more = self._maintenance.step(self._committer)
        if self._waiting or more:
            self._schedule()

    def _commit_group(self) -> None:
        self._busy = True
        try:
            before = self._engine.position
            group = self._next_group()
            results = self._committer.commit(group)
            self._reply(results)
            if self._engine.position != before:
                self._poke(self._engine.position)
        finally:
            self._busy = False
        if self._waiting:
            self._schedule()

    def _next_group(self) -> list[Request]:
        """Return the first waiting requests, whole, up to the limit of mutations."""
        limit = self._engine.settings.group_mutations
        group: list[Request] = []
        for request in islice(self._waiting, limit):
            limit -= len(request.transaction)
            if group and limit < 0:
                break
            group.append(request)
        return group

    def _reply(self, results: Sequence[Result]) -> None:
        self._groups += 1
        self._transactions += len(results)
        for result in results:
            request = self._waiting.popleft()
            self._waiting_mutations -= len(request.transaction)
            self._waiting_bytes -= request.size_bytes
            self._rejected += isinstance(result, LyreError)
            try:
                request.on_reply(result)
            except Exception:
                _logger.exception("the owner of a transaction failed at its reply")

    def _poke(self, position: int) -> None:
        for callback in list(self._pokes.values()):
            try:
                callback(position)
            except Exception:
                _logger.exception("a reader failed at the news of a commit")


def _size_of(transaction: Sequence[Mutation], session_rows: Rows) -> int:
    size = sum([mutation.size_bytes for mutation in transaction])
    if session_rows:
        size += sum([len(name) + len(value or b"") for name, value in session_rows])
    return size
