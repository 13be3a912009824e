"""What the rooms above storage know of the writer, whichever process it lives in.

A node has one order of writes. `Sequencer` is the way into it: `writer.Writer` in the
process that commits, `remote.client.RemoteWriter` in a worker beside a writer process. One
conformance suite (``tests/storage/test_sequencers.py``) holds both to what is written here.

`Calls` and `CallService` are the two ends of the stream between a worker and the writer
process, for questions that are no writes. Bodies are bytes; their form is their user's.
`remote.local.LocalCalls` joins both ends where everything is one process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from lyredb.errors import LyreError
from lyredb.storage.apply import Rows
from lyredb.storage.mutation import Applied, Mutation

Result: TypeAlias = Applied | LyreError
"""What a transaction came to."""
Answer: TypeAlias = bytes | LyreError
"""What a call came to."""
Reply: TypeAlias = Callable[[Answer], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SequencerStatistics:
    """Numbers of a sequencer since it was made.

    Attributes:
        transactions: Answered, rejected ones included.
        rejected: Answered with an error.
        conflicts: Of these, those that had read what others changed before they committed.
        waiting: Taken and not answered yet.
        waiting_bytes: What those have in bodies, keys and session rows.
    """

    transactions: int
    rejected: int
    conflicts: int
    waiting: int
    waiting_bytes: int


class Sequencer(Protocol):
    """Takes transactions into the node's one order of writes.

    All methods belong to the thread of the event loop.
    """

    @property
    def failure(self) -> str:
        """Why nothing can be written at present, or empty."""

    def submit(
        self,
        transaction: Sequence[Mutation],
        on_reply: Callable[[Result], None],
        *,
        session_rows: Rows = (),
        bulk: bool = False,
    ) -> None:
        """Take a transaction into one of the next groups.

        Args:
            transaction: At least one mutation, or none when there are session rows.
                All of it is done or nothing. Preconditions are checked one mutation after
                the other, see `Precondition`; of an error among several, ``mutation`` says
                which of them was refused.
            on_reply: Called once, never before this returns, after the commit is on disk,
                with what was applied or with the error. Replies come in the order of the
                calls of `submit`, in each of the two lanes.
            session_rows: Rows of sessions' progress to put (``None`` deletes) in the
                same commit, without a log entry.
            bulk: It belongs to an import or the like, of which nobody awaits each part:
                while others wait, all of these get at most 20 % of a group.

        Raises:
            Overloaded: Too much is waiting; nothing was taken.
            TransactionTooLarge: It can never be taken.
            EngineClosed: The sequencer or the engine is closed.
            StorageFailed: The engine is read-only.
        """

    async def commit(
        self, transaction: Sequence[Mutation], *, session_rows: Rows = (), bulk: bool = False
    ) -> Applied:
        """Submit a transaction and wait until it is on disk; see `submit`.

        A cancelled wait does not take the transaction back.

        Raises:
            LyreError: It was rejected, or the engine failed.
        """

    def on_commit(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback` called with the new position after each commit's replies.

        A hint: several commits may be told as one, and those of other workers are too.

        Returns:
            A function that ends it.
        """

    def lease_integers(self, slot: int, on_lease: Callable[[range | LyreError], None]) -> None:
        """Lease a block of integer keys of a table, above all that exist.

        No integer is leased again while whoever leased it may still use it, also when the
        writer is started anew meanwhile.

        Args:
            slot: The table.
            on_lease: Called once with the block, which is not empty, or with the error;
                possibly before this returns.
        """

    def statistics(self) -> SequencerStatistics:
        """Return the numbers of this moment."""

    def close(self) -> None:
        """Refuse everything from here on; what was taken is still written and answered."""

    async def drain(self, within_s: float) -> bool:
        """Close, and wait until everything that was taken is answered.

        What is not by then is answered with `StorageFailed`: it may or may not be on disk.

        Returns:
            Whether all of it was answered in time.
        """


def settling(future: asyncio.Future[T]) -> Callable[[T | LyreError], None]:
    """Return what gives a result to whoever waits for it; nobody may wait any more."""

    def settle(result: T | LyreError) -> None:
        if future.done():
            return
        if isinstance(result, LyreError):
            future.set_exception(result)
        else:
            future.set_result(result)

    return settle


async def committed(
    sequencer: Sequencer, transaction: Sequence[Mutation], *, session_rows: Rows, bulk: bool
) -> Applied:
    """Submit a transaction and wait for its reply; what every `Sequencer.commit` does.

    Raises:
        LyreError: It was rejected, or the engine failed.
    """
    future: asyncio.Future[Applied] = asyncio.get_running_loop().create_future()
    sequencer.submit(transaction, settling(future), session_rows=session_rows, bulk=bulk)
    return await future


class Calls(Protocol):
    """A worker's end: ``RemoteWriter.calls``, or ``LocalCalls.calls`` in one process."""

    def call(self, kind: str, body: bytes, on_reply: Reply) -> None:
        """Ask the service; it gets calls in order, after the writes submitted before.

        Args:
            kind: Which handler; a name that its room owns.
            body: At most 1 MB.
            on_reply: Called once, never before this returns. `Overloaded` when the writer
                is not there, or went away before it answered: it may or may not have done it.
        """

    def notify(self, kind: str, body: bytes) -> None:
        """Tell the service's handler something; no answer comes, and none when it is away."""

    def on_notice(self, kind: str, handler: Callable[[bytes], None]) -> None:
        """Have a handler called with what the service tells this worker."""

    def on_attach(self, callback: Callable[[], None]) -> None:
        """Have `callback` called each time that a writer is there, to announce state again.

        When one is there already, the first call comes in the next tick.
        """


class CallService(Protocol):
    """The end where the writer is: ``WriterService.calls``, or ``LocalCalls.service``."""

    def serve(self, kind: str, handler: Callable[[int, bytes, Reply], None]) -> None:
        """Have a handler called for each call and notice of a kind.

        Args:
            kind: As in `Calls.call`.
            handler: Gets the worker's number, the body, and what to answer with, at once or
                later, at most once. For a notice, and after the worker has gone, the answer
                goes nowhere. A `LyreError` that it raises is the answer.
        """

    def notify(self, worker: int, kind: str, body: bytes) -> None:
        """Tell a worker something; lost when that worker is away."""

    def on_detach(self, callback: Callable[[int], None]) -> None:
        """Have `callback` called with the number of each worker that went away."""

    @property
    def workers(self) -> tuple[int, ...]:
        """The numbers of the workers that are attached."""
