"""A worker's end: the sequencer of a process that only reads.

What is submitted in a tick goes out in one frame. Requests that were sent when the writer went
away are answered when there is one again, from the request row: exactly what was done. The rest
is sent once more, before what was not sent yet, so that nothing passes what came before it; what
the second writer does not do either is answered as not done, since it may be what ends writers.
Requests that were not sent yet wait for the next writer, for a while.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from lyredb.errors import EngineClosed, LyreError, Overloaded, StorageFailed, WriteConflict
from lyredb.storage.apply import Rows
from lyredb.storage.leases import decode_range, encode_slot
from lyredb.storage.limits import check_limits, measure
from lyredb.storage.mutation import Applied, Mutation
from lyredb.storage.pokes import Pokes
from lyredb.storage.remote.channel import Channel
from lyredb.storage.remote.client_calls import ClientCalls
from lyredb.storage.remote.service import LEASE_KIND
from lyredb.storage.remote.wire import (
    Hello,
    Told,
    Wanted,
    Welcome,
    Work,
    decode_downward,
    encode,
)
from lyredb.storage.sequencer import Answer, Result, SequencerStatistics, committed

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

POLL_S: Final = 1.0
"""How often the position is looked at by itself; pokes are hints."""
PATIENCE_S: Final = 5.0
"""How long unsent requests wait for a writer; one is started anew in about a second."""
FRAME_BYTES: Final = 1024 * 1024
"""A frame is closed when it has so much, so that the writer can begin with it."""

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RemoteStatistics(SequencerStatistics):
    """Numbers of a worker's way to the writer.

    Attributes:
        is_attached: There is a writer.
        attachments: How many there were.
    """

    is_attached: bool
    attachments: int


_Waiting: TypeAlias = tuple[Callable[[Result], None], int, int, Wanted | None]
"""A request: who waits, its mutations, its bytes, and itself unless it was sent once more."""


class RemoteWriter:
    """The `Sequencer` of a worker.

    Args:
        engine: Opened for reading; or, in one process with the writer, the writer's own.
        worker: The worker's number.
        loop: The loop that calls and is called.

    Attributes:
        calls: Questions to the writer's process that are no writes; see `sequencer.Calls`.
        before_send: Called before writes are sent: what was published before them goes
            to other workers first.
    """

    def __init__(self, engine: Engine, worker: int, *, loop: asyncio.AbstractEventLoop) -> None:
        self.worker = worker
        self.calls = ClientCalls(self._schedule, loop)
        self.before_send: Callable[[], None] | None = None
        self._engine = engine
        self._loop = loop
        self._life = int.from_bytes(os.urandom(7), "big") + 1
        self._channel: Channel | None = None
        self._next_sock: socket.socket | None = None
        self._is_welcome = False
        self._attachments = 0
        self._away_since = loop.time()
        self._failure = ""
        self._last = self._sent = 0
        self._waiting: dict[int, _Waiting] = {}
        self._unsent: list[Wanted] = []
        self._mutations = self._bytes = 0
        self._transactions = self._rejected = self._conflicts = 0
        self._is_scheduled = self._is_closed = False
        self._drained: asyncio.Future[None] | None = None
        self._pokes = Pokes()
        self._told = engine.position
        self._timer = loop.call_later(POLL_S, self._poll)

    @property
    def is_attached(self) -> bool:
        """A writer is there and has said what became of earlier requests."""
        return self._is_welcome

    @property
    def failure(self) -> str:
        """Why nothing can be written at present, or empty."""
        if not self._is_welcome and self._loop.time() - self._away_since > PATIENCE_S:
            return "the writer process is not there"
        return self._failure

    def attach(self, sock: socket.socket) -> None:
        """Use the writer at the other end of a connected Unix stream socket, from now on ours.

        When the stream to an earlier writer is still open, it is read to its end first.
        """
        if self._next_sock is not None:
            self._next_sock.close()
            self._next_sock = None
        if self._channel is not None:
            self._next_sock = sock
            self._channel.finish_output()
            self._loop.call_later(POLL_S, self._stop_waiting_for, self._channel)
            return
        self._channel = Channel(sock, self, loop=self._loop)
        self._channel.send(encode(Hello(self._life)))

    def _stop_waiting_for(self, channel: Channel) -> None:
        """Leave an earlier writer whose stream does not end although there is a next one."""
        if self._channel is channel and self._next_sock is not None:
            _logger.warning("the stream to the earlier writer did not end; it is left")
            channel.abandon()

    def submit(
        self,
        transaction: Sequence[Mutation],
        on_reply: Callable[[Result], None],
        *,
        session_rows: Rows = (),
        bulk: bool = False,
    ) -> None:
        """Send a transaction to the writer at the end of the tick; see `Sequencer.submit`.

        Raises:
            Overloaded: Too much is waiting, or the writer has been away for long; nothing
                was taken.
            TransactionTooLarge: It can never be taken.
            EngineClosed: ``close()`` was called.
            StorageFailed: The writer's engine is read-only.
        """
        mutations, size = measure(transaction, session_rows)
        if self._is_closed or self._failure or not self._is_welcome or self._engine.is_closed:
            self._check_open()
        check_limits(mutations, size, self._mutations, self._bytes, self._engine.settings)
        self._last = number = self._last + 1
        wanted = Wanted(number, tuple(transaction), tuple(session_rows), bulk)
        self._waiting[number] = (on_reply, mutations, size, wanted)
        self._unsent.append(wanted)
        self._mutations += mutations
        self._bytes += size
        if not self._is_scheduled:
            self._schedule()

    def _check_open(self) -> None:
        if self._is_closed or self._engine.is_closed:
            raise EngineClosed("the database is closed; nothing was written")
        if self._failure:
            raise StorageFailed(self._failure)
        if not self._is_welcome and self.failure:
            raise Overloaded("the writer is not there; nothing was written, try again")

    async def commit(
        self, transaction: Sequence[Mutation], *, session_rows: Rows = (), bulk: bool = False
    ) -> Applied:
        """Submit a transaction and wait until it is on disk; see `Sequencer.commit`.

        Raises:
            LyreError: It was rejected, or the engine failed.
        """
        return await committed(self, transaction, session_rows=session_rows, bulk=bulk)

    def on_commit(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """Have `callback` called with the new position after replies; see `Sequencer`.

        Returns:
            A function that ends it.
        """
        return self._pokes.add(callback)

    def lease_integers(self, slot: int, on_lease: Callable[[range | LyreError], None]) -> None:
        """Lease a block of integer keys of a table; see `Sequencer.lease_integers`."""

        def answered(answer: Answer) -> None:
            on_lease(answer if isinstance(answer, LyreError) else decode_range(answer))

        self.calls.call(LEASE_KIND, encode_slot(slot), answered)

    def statistics(self) -> RemoteStatistics:
        """Return the numbers of this moment."""
        return RemoteStatistics(
            transactions=self._transactions,
            rejected=self._rejected,
            conflicts=self._conflicts,
            waiting=len(self._waiting),
            waiting_bytes=self._bytes,
            is_attached=self._is_welcome,
            attachments=self._attachments,
        )

    def close(self) -> None:
        """Refuse everything from here on; what was taken is still sent and answered."""
        self._is_closed = True

    async def drain(self, within_s: float) -> bool:
        """Close, wait until everything is answered, and leave the writer.

        What is not answered in time gets `StorageFailed`.
        """
        self.close()
        self._flush()
        if self._waiting:
            self._drained = self._loop.create_future()
            await asyncio.wait((self._drained,), timeout=within_s)
        complete = not self._waiting
        lost = StorageFailed("the server stopped; the write may or may not be on disk")
        self._resolve([(number, lost) for number in self._waiting])
        self._leave()
        return complete

    def _leave(self) -> None:
        self._timer.cancel()
        self.calls.lose()
        self._is_welcome = False
        if self._next_sock is not None:
            self._next_sock.close()
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _schedule(self) -> None:
        if not self._is_scheduled and self._is_welcome:
            self._is_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send what waits: one frame, or several when it is more than a megabyte."""
        self._is_scheduled = False
        if not self._is_welcome or self._channel is None:
            return
        if not self._unsent and not self.calls.has_unsent:
            return
        if self.before_send is not None:
            self.before_send()
        asks = self.calls.take()  # after all that can fail: who asks waits for an answer
        unsent, self._unsent = self._unsent, []
        earlier: list[list[Wanted]] = []
        if self._bytes > FRAME_BYTES:  # of all that waits, what was sent already included
            *earlier, unsent = _parts(unsent, self._waiting)
        self._sent = self._last
        for part in earlier:
            self._channel.send(encode(Work(part, [])))
        self._channel.send(encode(Work(unsent, asks)))

    def frames_came(self, frames: list[memoryview]) -> None:
        """Take replies first, then answers and notices, then tell the position."""
        try:
            for body in frames:
                frame = decode_downward(body)
                if isinstance(frame, Welcome):
                    self._become_welcome(frame)
                else:
                    self._take(frame)
        except msgspec.DecodeError:
            _logger.exception("the writer sends what is no frame; the stream is closed")
            if self._channel is not None:
                self._channel.finish_output()
        self._poke()

    def _take(self, told: Told) -> None:
        self._failure = told.failure
        self._resolve([(each.number, each.applied or each.result) for each in told.replies])
        self.calls.come(told.answers, told.notices)

    def _become_welcome(self, welcome: Welcome) -> None:
        """Answer what an earlier writer left open, then go on with what was not sent."""
        self._is_welcome = True
        self._attachments += 1
        self._failure = ""
        self._judge({each.number: each.result for each in welcome.row.replies})
        self.calls.announce()
        self._schedule()

    def _judge(self, done: dict[int, Result]) -> None:
        """Answer each request that was sent, or have it sent once more, in order.

        Args:
            done: Results by number, of those that an earlier writer has done.
        """
        again: list[Wanted] = []
        results: list[tuple[int, Result]] = []
        for number, (on_reply, mutations, size, wanted) in self._waiting.items():
            if number > self._sent:
                break
            if number in done:
                results.append((number, done[number]))
            elif wanted is None:
                results.append((number, _not_done()))
            else:
                self._waiting[number] = (on_reply, mutations, size, None)
                again.append(wanted)
        self._unsent[:0] = again
        self._sent = 0  # whatever waits now has not been sent to this writer
        self._resolve(results)

    def _resolve(self, results: Sequence[tuple[int, Result]]) -> None:
        waiting = self._waiting
        for number, result in results:
            request = waiting.pop(number, None)
            if request is None:
                continue
            on_reply, mutations, size, _ = request
            self._mutations -= mutations
            self._bytes -= size
            self._transactions += 1
            if isinstance(result, LyreError):
                self._rejected += 1
                self._conflicts += isinstance(result, WriteConflict)
            try:
                on_reply(result)
            except Exception:
                _logger.exception("the owner of a transaction failed at its reply")
        if not waiting and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _poke(self) -> None:
        if self._engine.is_closed:
            return
        try:
            position = self._engine.refresh()
        except LyreError:
            _logger.exception("the position of the log cannot be read")
            return
        if position != self._told:
            self._told = position
            self._pokes.tell(position)

    def output_drained(self) -> None:
        """Nothing waits for it: what may be outstanding is bounded at `submit`."""

    def channel_lost(self) -> None:
        """The writer is gone; who waits for it waits for the next one."""
        if self._is_welcome:
            self._away_since = self._loop.time()
        self._channel = None
        self._is_welcome = False
        self._is_scheduled = False
        self.calls.lose()
        if self._next_sock is not None:
            sock, self._next_sock = self._next_sock, None
            self.attach(sock)

    def _poll(self) -> None:
        self._timer = self._loop.call_later(POLL_S, self._poll)
        self._poke()
        if not self._is_welcome and self._loop.time() - self._away_since > PATIENCE_S:
            self._give_up_unsent()

    def _give_up_unsent(self) -> None:
        unsent, self._unsent = self._unsent, []
        self.calls.give_up()
        self._resolve([(each.number, _not_done()) for each in unsent])


def _parts(requests: list[Wanted], waiting: dict[int, _Waiting]) -> list[list[Wanted]]:
    """Cut what is to be sent into frames; at least one, which may be empty."""
    parts: list[list[Wanted]] = [[]]
    size = 0
    for wanted in requests:
        if size > FRAME_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(wanted)
        size += waiting[wanted.number][2]
    return parts


def _not_done() -> Overloaded:
    return Overloaded("the writer was started anew; nothing was written, try again")
