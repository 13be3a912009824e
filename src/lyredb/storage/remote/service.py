"""The writer's end: workers' requests into the one order, and what came of them back.

Replies of a commit go out in one frame per worker, with the position, before anything else is
committed. A worker that does not read its replies is not read either until it does, and until
then the results that the kernel has not got go into its request row again and again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec

from lyredb.errors import LyreError
from lyredb.storage import meta
from lyredb.storage.commit import Request
from lyredb.storage.leases import decode_slot, encode_range
from lyredb.storage.limits import measure
from lyredb.storage.remote.channel import Channel
from lyredb.storage.remote.service_calls import ServiceCalls
from lyredb.storage.remote.wire import (
    Answered,
    Ask,
    Hello,
    Notice,
    Told,
    Wanted,
    Welcome,
    answered,
    decode_upward,
    encode,
)
from lyredb.storage.request_row import (
    Replied,
    RequestRow,
    decode_request_row,
    encode_request_row,
    replied,
)
from lyredb.storage.sequencer import Answer, Reply, Result
from lyredb.storage.writer import Writer

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

CHECK_READERS_S: Final = 10.0
"""How often reader slots of dead processes are looked for; each holds pages back."""
LEASE_KIND: Final = "storage.lease"
"""The call by which workers lease integer keys."""

_logger: Final = logging.getLogger(__name__)


class Link:
    """One attached worker; the `commit.Origin` of its requests."""

    def __init__(self, service: WriterService, worker: int, sock: socket.socket) -> None:
        self._service = service
        self._worker = worker
        self._life = 0
        self._untold: list[Replied] = []
        self._made: dict[int, Replied] = {}  # of the group that is being committed
        self._replies: list[Replied] = []
        self._answers: list[Answered] = []
        self._notices: list[Notice] = []
        self._is_scheduled = False
        self._owes_poke = False
        self._channel = Channel(sock, self, loop=service.loop)

    @property
    def is_known(self) -> bool:
        """It has said who it is."""
        return bool(self._life)

    def row(self, replies: Sequence[tuple[int, Result]]) -> tuple[bytes, bytes]:
        """Return the row that answers these and all that may not have been told."""
        self._made = {number: replied(number, result) for number, result in replies}
        every = [*self._untold, *self._made.values()]
        return meta.request_row_name(self._worker), encode_request_row(self._life, every)

    def keep(self) -> None:
        """Take note of what is on disk; it stays in the row until the kernel has the reply."""
        self._untold += self._made.values()

    def reply(self, number: int, result: Result) -> None:
        """Take the result of a request into the next frame."""
        made = self._made.get(number)
        if made is None or made.applied is not result:  # it is in no row
            made = replied(number, result)
        self._replies.append(made)
        if not self._is_scheduled:
            self._schedule()

    def answer(self, number: int, answer: Answer) -> None:
        """Take the answer to a call into the next frame."""
        self._answers.append(answered(number, answer))
        self._schedule()

    def notify(self, notice: Notice) -> None:
        """Take a notice into the next frame."""
        self._notices.append(notice)
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._service.loop.call_soon(self._flush_due)

    def _flush_due(self) -> None:
        if self._is_scheduled:
            self.flush()

    def poke(self) -> None:
        """Tell the replies and the position; the position alone only if nothing is unsent."""
        if not self.is_known:
            return
        if self._replies or not self._channel.has_unsent:
            self.flush()
        else:
            self._owes_poke = True

    def flush(self) -> None:
        """Send what waits in one frame, and the position with it."""
        self._is_scheduled = False
        self._owes_poke = False
        engine = self._service.engine
        told = Told(engine.position, engine.failure, self._replies, self._answers, self._notices)
        self._replies, self._answers, self._notices = [], [], []
        self._channel.send(encode(told))
        if self._channel.has_told_all:
            self._untold.clear()
        elif self._channel.has_unsent:
            self._channel.pause()

    def output_drained(self) -> None:
        """Go on reading; what has come up meanwhile goes out first."""
        if self._replies or self._answers or self._notices or self._owes_poke:
            self.flush()
        elif self._channel.has_told_all:
            self._untold.clear()
        if not self._channel.has_unsent:
            self._channel.resume()

    def frames_came(self, frames: list[memoryview]) -> None:
        """Do what the worker wants."""
        try:
            for body in frames:
                frame = decode_upward(body)
                if isinstance(frame, Hello):
                    self._welcome(frame.life)
                else:
                    self._service.take(self, frame.requests)
                    for ask in frame.asks:
                        self._dispatch(ask)
        except msgspec.DecodeError:
            _logger.exception("worker %d sends what is no frame; it is detached", self._worker)
            self._service.detach(self._worker)

    def _welcome(self, life: int) -> None:
        """Tell a worker what became of requests for which an earlier link did not answer.

        What that link took and has not committed is committed first, so that nothing is
        written after we have said that it was not.
        """
        row = self._service.row_of(self._worker)
        self._life = life
        self._channel.send(encode(Welcome(row if row.life == life else RequestRow(life))))
        self.flush()

    def _dispatch(self, ask: Ask) -> None:
        self._service.calls.dispatch(self._worker, ask, partial(self.answer, ask.number))

    def channel_lost(self) -> None:
        """The worker is gone."""
        self._service.detach(self._worker)

    def close(self) -> None:
        """Send what waits and end the stream."""
        if self._channel.is_open:
            if self.is_known:
                self.flush()
            self._channel.close()


class WriterService:
    """Serves workers from the process that writes.

    Args:
        engine: The engine, which nobody else writes.
        writer: Its writer.
        loop: The loop that both belong to.

    Attributes:
        calls: Other rooms' questions; see `sequencer.CallService`.
    """

    def __init__(self, engine: Engine, writer: Writer, *, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self.loop = loop
        self._writer = writer
        self._links: dict[int, Link] = {}
        self.calls = ServiceCalls(self._notifier, self._known_workers)
        self.calls.serve(LEASE_KIND, self._lease)
        self._forget = writer.on_commit(self._poke)
        self._timer = loop.call_later(CHECK_READERS_S, self._check_readers)

    def attach(self, worker: int, sock: socket.socket) -> None:
        """Serve a worker over a connected Unix stream socket, which is owned from now on.

        A worker of the same number that is still attached is detached first.
        """
        self.detach(worker)
        self._links[worker] = Link(self, worker, sock)

    def detach(self, worker: int) -> None:
        """Let a worker go that died or is to end; what it had sent is still committed.

        Called by itself when the stream ends; a second call does nothing.
        """
        link = self._links.pop(worker, None)
        if link is None:
            return
        link.close()
        self._free_readers()
        if link.is_known:
            self.calls.tell_detached(worker)

    def close(self) -> None:
        """Commit what was taken, tell it, and end the streams. The writer is closed after."""
        self._timer.cancel()
        self._writer.close()
        self._forget()
        for worker in list(self._links):
            self.detach(worker)

    def take(self, link: Link, requests: Sequence[Wanted]) -> None:
        """Take a worker's requests; what cannot be taken is answered in its turn."""
        for wanted in requests:
            mutations, size = measure(wanted.transaction, wanted.session_rows)
            request = Request(
                wanted.transaction,
                None,
                wanted.session_rows,
                mutations,
                size,
                wanted.bulk,
                link,
                wanted.number,
            )
            try:
                self._writer.take(request)
            except LyreError as error:
                self._writer.refuse(request, error)

    def row_of(self, worker: int) -> RequestRow:
        """Return the request row of a worker, when nothing of it waits any more."""
        self._writer.commit_now()
        with self.engine.snapshot() as snapshot:
            row = snapshot.meta_row(meta.request_row_name(worker))
        return RequestRow(0) if row is None else decode_request_row(row)

    def _notifier(self, worker: int) -> Callable[[Notice], None] | None:
        link = self._links.get(worker)
        return None if link is None else link.notify

    def _known_workers(self) -> tuple[int, ...]:
        return tuple(sorted(number for number, link in self._links.items() if link.is_known))

    def _poke(self, _: int) -> None:
        for link in list(self._links.values()):
            link.poke()

    def _lease(self, _: int, body: bytes, reply: Reply) -> None:
        lease = self._writer.leases.lease(decode_slot(body), durable=True)
        reply(encode_range(lease))

    def _check_readers(self) -> None:
        self._free_readers()
        self._timer = self.loop.call_later(CHECK_READERS_S, self._check_readers)

    def _free_readers(self) -> None:
        if self.engine.is_closed:
            return
        freed = self.engine.check_readers()
        if freed:
            _logger.info("freed %d reader slots of processes that are gone", freed)
