"""Writes: authorise, plan, fence, hand to the writer; one, or several as one transaction.

A write holds back direct messages of its record in this process until the tail has
delivered it, so that a subscriber sees one publisher's messages of a topic in the
order in which they were sent, logged or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from lyredb.errors import LyreError, RecordExists, TransactionTooLarge
from lyredb.plugins.context import Context
from lyredb.resources.access import Access, Decision
from lyredb.resources.blob_intake import BlobIntake, failure_of, with_value
from lyredb.resources.integers import IntegerKeys
from lyredb.resources.mutations import Planned, held_mutation, needs_integer, plan
from lyredb.resources.requests import Write, WriteOperation, Written
from lyredb.resources.target import Target
from lyredb.resources.write_limit import WriteLimit
from lyredb.storage.mutation import Applied, Kind, Mutation
from lyredb.storage.sequencer import settling

if TYPE_CHECKING:
    from lyredb.delivery.fence import HeldMessage
    from lyredb.storage.apply import Rows
    from lyredb.storage.overlay import Address
    from lyredb.storage.sequencer import Result, Sequencer

Done = Callable[[Written | LyreError], None]

_DECISIONS: dict[WriteOperation, Decision] = {
    "put": "save",
    "patch": "save",
    "create": "insert",
    "delete": "delete",
}
_TURN_S: Final = 0.002
"""After so long of encoding a large transaction the loop has a turn."""


class Fence(Protocol):
    """What holds direct messages of a record back; `lyredb.delivery.hub.Hub` is one."""

    def hold(self, slot: int, key: bytes) -> None:
        """Let direct messages of this record wait."""

    def take_held(self, slot: int, key: bytes) -> list[HeldMessage]:
        """Take those that have to be logged before the next write of this record."""

    def push_held(self, held: HeldMessage) -> None:
        """Take one back."""

    def release(self, slot: int, key: bytes, seq: int) -> None:
        """Let them go once the tail has passed ``seq``; 0 lets them go at once."""


class Writing:
    """Turns writes into mutations, and the writer's replies into `Written`.

    Args:
        writer: Where they go.
        fence: What holds back messages behind them.
        access: Who may do what.
        max_writes: In one transaction; what the writer takes.
        intake: Has the files of blobs written.
    """

    def __init__(
        self,
        writer: Sequencer,
        fence: Fence,
        access: Access,
        max_writes: int,
        intake: BlobIntake,
    ) -> None:
        self._intake = intake
        self._writer = writer
        self._fence = fence
        self._access = access
        self._max_writes = max_writes
        self.integers = IntegerKeys(writer)

    def admit(self, operation: WriteOperation, target: Target, context: Context) -> None:
        """Decide before a body is read whether such a write may come at all.

        Raises:
            NotAuthorised: It may not.
        """
        decision = _DECISIONS[operation]
        self._access.admit(context.principal, decision, target.table, target.topic)

    def admit_attribute(self, target: Target, context: Context) -> None:
        """Decide before its content is read whether an attribute may be set at all.

        Raises:
            NotAuthorised: It may not.
        """
        principal, table = context.principal, target.table
        self._access.require(principal, "save", table, target.topic)
        limit = self._access.limit(principal, table)
        if limit is not None:
            limit.require(target.attribute)

    def submit(self, write: Write, context: Context, done: Done, session_rows: Rows = ()) -> None:
        """Send one write; ``done`` gets its result after the commit, in order of arrival.

        A ``create`` whose key is the next integer may have to wait for a block of those
        first: then later writes go on before it, and all of its errors come to ``done``.

        Args:
            write: What to do.
            context: Who asks.
            done: Called once.
            session_rows: Rows of ``sess`` in the same transaction.

        Raises:
            NotAuthorised, InvalidRecord, InvalidBody, InvalidKey, UnsupportedOperation,
            Overloaded: Nothing was sent and ``done`` will not be called.
        """
        if write.target.table.blob_names:
            write = with_value(write)
            if self._intake.must_wait(write):
                self.admitted(write, context)
                self._intake.take(write, partial(self._resume_saved, context, done, session_rows))
                return
        self._submit(write, context, done, session_rows)

    def _resume_saved(
        self,
        context: Context,
        done: Done,
        session_rows: Rows,
        write: Write,
        failure: Exception | None,
    ) -> None:
        """Go on with a write whose blobs are in files, or are not."""
        if failure is not None:
            done(failure_of(failure))
            return

        def told(result: Written | LyreError) -> None:
            if isinstance(result, LyreError):
                self._intake.discard(write.blobs, result)
            done(result)

        try:
            self._submit(write, context, told, session_rows)
        except LyreError as error:
            told(error)

    def _submit(self, write: Write, context: Context, done: Done, session_rows: Rows) -> None:
        limit = self.admitted(write, context)
        integer = None
        if write.operation == "create" and needs_integer(write):
            slot = write.target.table.slot
            integer = self.integers.take(slot)
            if integer is None:
                resume = partial(self._resume, write, context, done, session_rows)
                self.integers.wait(slot, resume)
                return
        self._send(plan(write, context, limit, integer), context, done, session_rows)

    def admitted(self, write: Write, context: Context) -> WriteLimit | None:
        """Decide, and return what the writer has to see to.

        Whether a record is new is known there only.

        Raises:
            NotAuthorised: It may not be.
        """
        target, decision = write.target, _DECISIONS[write.operation]
        return self._access.admit(context.principal, decision, target.table, target.topic)

    def _resume(
        self,
        write: Write,
        context: Context,
        done: Done,
        session_rows: Rows,
        failure: LyreError | None,
    ) -> None:
        """Go on with a creation that has waited for an integer."""
        if failure is not None:
            done(failure)
            return
        try:
            self._submit(write, context, done, session_rows)
        except LyreError as error:
            done(error)

    def _send(self, planned: Planned, context: Context, done: Done, session_rows: Rows) -> None:
        fence, mutation = self._fence, planned.mutation
        slot, key = mutation.slot, mutation.key
        taken = fence.take_held(slot, key)
        if taken:
            self._log_taken(slot, key, taken)
        # No function that encloses them: its cells would be more objects than all the others.
        reply = partial(self._reply, planned, context, done, session_rows)
        self._writer.submit((mutation,), reply, session_rows=session_rows)
        # Only now: a write that was not taken must not answer the hold of an earlier one.
        fence.hold(slot, key)

    def _reply(
        self, planned: Planned, context: Context, done: Done, session_rows: Rows, result: Result
    ) -> None:
        """Tell what came of one write."""
        mutation = planned.mutation
        if isinstance(result, LyreError):
            self._fence.release(mutation.slot, mutation.key, 0)
            if planned.integer is not None and isinstance(result, RecordExists):
                # Somebody chose this key while it was leased: the next block is above it.
                self.integers.discard(mutation.slot)
                self._resume(planned.write, context, done, session_rows, None)
                return
            done(planned.meaning(result))
            return
        outcome = result.outcomes[0]
        self._fence.release(mutation.slot, mutation.key, outcome.seq)
        table = planned.write.target.table
        done(Written(planned.id, outcome.version, outcome.seq, outcome.existed, table))

    def submit_messages(
        self, messages: Sequence[Mutation], done: Callable[[Result], None], session_rows: Rows
    ) -> None:
        """Send messages for the log as one transaction; each of their topics is fenced once.

        Args:
            messages: Mutations of the kind MESSAGE and nothing else.
            done: Gets what the writer says, in order of arrival.
            session_rows: Rows of ``sess`` in the same transaction.

        Raises:
            LyreError: Nothing was sent and ``done`` will not be called.
        """
        fence, count = self._fence, 0
        lasts: dict[Address, int] = {}  # by topic, which of the entries is its last one
        for one in messages:
            count += 1 + len(one.more)
            lasts[(one.slot, one.key)] = count - 1

        def reply(result: Result) -> None:
            # Each message has an entry, so their positions are the last ones of the commit.
            first = 0 if isinstance(result, LyreError) else result.position - count + 1
            for (slot, key), number in lasts.items():
                fence.release(slot, key, first + number if first else 0)
            done(result)

        for slot, key in lasts:
            self._log_held(slot, key)
        self._writer.submit(messages, reply, session_rows=session_rows)
        for slot, key in lasts:
            fence.hold(slot, key)

    def _log_held(self, slot: int, key: bytes) -> None:
        """Log what was published between the last write of a record and the next one."""
        taken = self._fence.take_held(slot, key)
        if taken:
            self._log_taken(slot, key, taken)

    def _log_taken(self, slot: int, key: bytes, taken: Sequence[HeldMessage]) -> None:
        def reply(result: Result) -> None:
            if isinstance(result, LyreError):
                self._fence.release(slot, key, 0)
                self._give_back(taken)
            else:
                self._fence.release(slot, key, result.position)

        try:
            self._writer.submit([held_mutation(held) for held in taken], reply)
        except LyreError:
            self._give_back(taken)
        else:
            self._fence.hold(slot, key)

    def _give_back(self, taken: Iterable[HeldMessage]) -> None:
        """Out of turn for other workers is better than lost."""
        for held in taken:
            self._fence.push_held(held)

    def prepare(self, write: Write, context: Context) -> Mutation:
        """Decide and encode a write of one record that somebody else may send later.

        Its deadline is that of the write: who sends it adds what the table says.

        Raises:
            NotAuthorised, InvalidRecord, InvalidBody, InvalidKey, UnsupportedOperation.
        """
        return plan(write, context, self.admitted(write, context)).mutation

    async def write_all(self, writes: Sequence[Write], context: Context) -> list[Written]:
        """Do all of these writes as one transaction, or nothing.

        Each is done, and its precondition checked, as if the ones before it were done
        already. The results come in the order of the writes.

        Raises:
            TransactionTooLarge: More than a transaction may have.
            LyreError: As of a single write; ``mutation`` says of which. Nothing was written.
        """
        if len(writes) > self._max_writes:
            raise TransactionTooLarge(
                f"a transaction may have {self._max_writes} writes, this one has {len(writes)}"
            )
        writes = await self._save_all(writes, context)
        try:
            return await self._write_all(writes, context)
        except LyreError as error:
            for write in writes:
                self._intake.discard(write.blobs, error)
            raise

    async def _save_all(self, writes: Sequence[Write], context: Context) -> Sequence[Write]:
        if not any(write.target.table.blob_names for write in writes):
            return writes
        saved: list[Write] = []
        try:
            for number, write in enumerate(writes):
                try:
                    saved.append(await self.save(write, context))
                except LyreError as error:
                    raise _placed(error, number) from None
        except BaseException:
            for write in saved:
                self._intake.discard(write.blobs)
            raise
        return saved

    async def _write_all(self, writes: Sequence[Write], context: Context) -> list[Written]:
        while writes:
            changes = self._access.changes
            all_planned = await self._plan_all(writes, context)
            if self._access.changes != changes:
                continue  # what was decided first may not hold any more
            try:
                applied = await self.send_all([planned.mutation for planned in all_planned])
            except LyreError as error:
                # Of a single one the writer does not say which it was.
                number = 0 if len(all_planned) == 1 else error.mutation
                if number is None:
                    raise
                refused = all_planned[number]
                if refused.integer is None or not isinstance(error, RecordExists):
                    raise _placed(refused.meaning(error), number) from None
                self.integers.discard(refused.mutation.slot)
                continue
            return [
                Written(one.id, done.version, done.seq, done.existed, one.write.target.table)
                for one, done in zip(all_planned, applied.outcomes, strict=True)
            ]
        return []

    async def _plan_all(self, writes: Sequence[Write], context: Context) -> list[Planned]:
        planned: list[Planned] = []
        turn = time.monotonic() + _TURN_S
        for number, write in enumerate(writes):
            try:
                planned.append(await self.plan(write, context))
            except LyreError as error:
                raise _placed(error, number) from None
            if time.monotonic() > turn:
                await asyncio.sleep(0)
                turn = time.monotonic() + _TURN_S
        return planned

    async def plan(self, write: Write, context: Context) -> Planned:
        """Decide and encode one write; waits only where a block of integer keys is used up.

        Raises:
            LyreError: As `submit`.
        """
        limit = self.admitted(write, context)
        integer = None
        if needs_integer(write):
            integer = await self.integers.next(write.target.table.slot)
        return plan(write, context, limit, integer)

    async def save(self, write: Write, context: Context) -> Write:
        """Return a write with the content of its blobs on disk, where that belongs into files.

        Who does not send it in the end calls `discard`.

        Raises:
            NotAuthorised: It may not be.
            RecordTooLarge, DiskFull, StorageFailed: Nothing is left of it.
        """
        if not write.target.table.blob_names:
            return write
        self.admitted(write, context)
        try:
            return await self._intake.save(with_value(write))
        except LyreError:
            raise
        except Exception as error:
            raise failure_of(error) from error

    def discard(self, mutations: Iterable[Mutation], error: Exception | None = None) -> None:
        """Remove the files of writes that were not done."""
        for mutation in mutations:
            self._intake.discard(mutation.blobs, error)

    async def send_all(self, mutations: Sequence[Mutation]) -> Applied:
        """Commit a transaction that was decided for, with its records fenced.

        A cancelled wait does not take it back.

        Raises:
            LyreError: It was refused, or the engine failed.
        """
        future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
        self.submit_all(mutations, settling(future))
        return await future

    def submit_all(self, mutations: Sequence[Mutation], done: Callable[[Result], None]) -> None:
        """Send a transaction that was decided for; ``done`` gets its result.

        Raises:
            LyreError: Nothing was sent and ``done`` will not be called.
        """
        fenced = [
            (number, one.slot, one.key)
            for number, one in enumerate(mutations)
            if one.kind is not Kind.CHECK
        ]

        def reply(result: Result) -> None:
            for number, slot, key in fenced:
                seq = 0 if isinstance(result, LyreError) else result.outcomes[number].seq
                self._fence.release(slot, key, seq)
            done(result)

        for _, slot, key in fenced:
            self._log_held(slot, key)
        self._writer.submit(mutations, reply)
        for _, slot, key in fenced:
            self._fence.hold(slot, key)


def _placed(error: LyreError, number: int | None) -> LyreError:
    error.mutation = number
    return error
