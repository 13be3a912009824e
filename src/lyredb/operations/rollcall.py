"""Questions to every worker of a server, asked where the writer is.

What only a worker knows (who is connected to it) is told by all of them together. A
`RollCall` asks all that are attached and collects what they say; an `Attendant` answers in
each worker. In a server of one process both are there, and it is asked the same.

An answer is a list of parts, each at most 1 MB (`lyredb.storage.sequencer.Calls`). A worker
that is silent for too long, or goes away meanwhile, is left out and counted.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import msgspec

from lyredb.storage.sequencer import Calls, CallService, Reply

ASK: Final = "rollcall/ask"
"""A notice to a worker: `_Question`."""
TELL: Final = "rollcall/tell"
"""A notice to the writer: `_Part`."""
ANSWER_S: Final = 2.0
"""A worker answers in its next tick; one that is silent for so long is stuck."""

_logger: Final = logging.getLogger(__name__)

Answerer: TypeAlias = Callable[[bytes], Iterable[bytes]]
"""Gets the body of a question, returns the parts of the answer."""


class _Question(msgspec.Struct, frozen=True, array_like=True):
    ticket: int
    kind: str
    body: bytes


class _Part(msgspec.Struct, frozen=True, array_like=True):
    ticket: int
    body: bytes | None
    """``None``: that was all."""


_questions: Final = msgspec.msgpack.Decoder(_Question)
_parts: Final = msgspec.msgpack.Decoder(_Part)


@dataclass(frozen=True, slots=True)
class Answers:
    """What the workers said.

    Attributes:
        parts: Of all of them.
        missing: How many workers did not answer, or not to the end.
    """

    parts: list[bytes]
    missing: int


@dataclass(slots=True)
class _Asked:
    waiting: set[int]
    done: asyncio.Future[None]
    parts: list[bytes] = field(default_factory=list)
    lost: int = 0

    def end(self, worker: int, *, is_lost: bool) -> None:
        if worker in self.waiting:
            self.waiting.remove(worker)
            self.lost += is_lost
        if not self.waiting and not self.done.done():
            self.done.set_result(None)


class RollCall:
    """Asks every worker. Belongs to the event loop of the process that writes.

    Args:
        service: The workers.
    """

    def __init__(self, service: CallService) -> None:
        self._service = service
        self._tickets = itertools.count(1)
        self._asked: dict[int, _Asked] = {}
        service.serve(TELL, self._hear)
        service.on_detach(self._lose)

    async def ask(self, kind: str, body: bytes = b"", within_s: float = ANSWER_S) -> Answers:
        """Ask all workers that are attached, and return what they say in that time."""
        ticket = next(self._tickets)
        workers = self._service.workers
        asked = _Asked(set(workers), asyncio.get_running_loop().create_future())
        if not workers:
            return Answers([], 0)
        self._asked[ticket] = asked
        question = msgspec.msgpack.encode(_Question(ticket, kind, body))
        try:
            for worker in workers:
                self._service.notify(worker, ASK, question)
            async with asyncio.timeout(within_s):
                await asked.done
        except TimeoutError:
            _logger.warning("workers %s do not answer to %s", sorted(asked.waiting), kind)
        finally:
            del self._asked[ticket]
        return Answers(asked.parts, asked.lost + len(asked.waiting))

    def _hear(self, worker: int, body: bytes, _: Reply) -> None:
        part = _parts.decode(body)
        asked = self._asked.get(part.ticket)
        if asked is None or worker not in asked.waiting:
            return  # it took too long
        if part.body is None:
            asked.end(worker, is_lost=False)
        else:
            asked.parts.append(part.body)

    def _lose(self, worker: int) -> None:
        for asked in list(self._asked.values()):
            asked.end(worker, is_lost=True)


class Attendant:
    """Answers for one worker.

    Args:
        calls: To the process that writes.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._answerers: dict[str, Answerer] = {}
        calls.on_notice(ASK, self._answer)

    def on(self, kind: str, answerer: Answerer) -> None:
        """Have questions of a kind answered; ``answerer`` runs on the event loop."""
        self._answerers[kind] = answerer

    def _answer(self, body: bytes) -> None:
        question = _questions.decode(body)
        answerer = self._answerers.get(question.kind)
        try:
            for part in () if answerer is None else answerer(question.body):
                self._tell(question.ticket, part)
        finally:
            self._tell(question.ticket, None)

    def _tell(self, ticket: int, part: bytes | None) -> None:
        self._calls.notify(TELL, msgspec.msgpack.encode(_Part(ticket, part)))


def packed(items: Iterable[msgspec.Struct], at_once: int = 500) -> Iterable[bytes]:
    """Yield parts of an answer: so many items each, as a MessagePack list."""
    waiting = iter(items)
    while some := list(itertools.islice(waiting, at_once)):
        yield msgspec.msgpack.encode(some)
