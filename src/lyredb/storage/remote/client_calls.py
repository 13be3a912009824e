"""A worker's calls: numbers, who waits for which answer, and whom notices are for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from lyredb.errors import Overloaded
from lyredb.storage.failure import error_of
from lyredb.storage.remote.wire import Answered, Ask, Notice
from lyredb.storage.sequencer import Answer, Reply

_logger: Final = logging.getLogger(__name__)


class ClientCalls:
    """The `Calls` of a worker beside a writer process.

    Args:
        schedule: Has what waits sent at the end of the tick, when there is a writer.
        loop: The loop that calls and is called.
    """

    def __init__(self, schedule: Callable[[], None], loop: asyncio.AbstractEventLoop) -> None:
        self._schedule = schedule
        self._loop = loop
        self._last = 0
        self._unsent: list[Ask] = []
        self._waiting: dict[int, Reply] = {}
        self._handlers: dict[str, Callable[[bytes], None]] = {}
        self._on_attach: list[Callable[[], None]] = []
        self._is_attached = False

    def call(self, kind: str, body: bytes, on_reply: Reply) -> None:
        """Ask the service; without one it waits for the next for a while. See `Calls`."""
        self._last += 1
        self._waiting[self._last] = on_reply
        self._unsent.append(Ask(self._last, kind, body))
        self._schedule()

    def notify(self, kind: str, body: bytes) -> None:
        """Tell the service's handler something; lost when no writer is there."""
        if self._is_attached:
            self._unsent.append(Ask(0, kind, body))
            self._schedule()

    def on_notice(self, kind: str, handler: Callable[[bytes], None]) -> None:
        """Have a handler called with what the service tells this worker."""
        self._handlers[kind] = handler

    def on_attach(self, callback: Callable[[], None]) -> None:
        """Have `callback` called each time that a writer is there; see `Calls`."""
        self._on_attach.append(callback)
        if self._is_attached:
            self._loop.call_soon(callback)

    @property
    def has_unsent(self) -> bool:
        """Something waits to be sent."""
        return bool(self._unsent)

    def take(self) -> list[Ask]:
        """Return what is to be sent."""
        asks, self._unsent = self._unsent, []
        return asks

    def announce(self) -> None:
        """A writer is there: state is announced before calls that have waited for it."""
        self._is_attached = True
        waited, self._unsent = self._unsent, []
        for callback in self._on_attach:
            _guarded(callback)
        self._unsent += waited

    def come(self, answers: Sequence[Answered], notices: Sequence[Notice]) -> None:
        """Hand out what the writer says."""
        for each in answers:
            on_reply = self._waiting.pop(each.number, None)
            if on_reply is not None:
                _guarded(partial(on_reply, _answer(each)))
        for notice in notices:
            handler = self._handlers.get(notice.kind)
            if handler is None:
                _logger.error("nobody here takes notices of the kind %s", notice.kind)
            else:
                _guarded(partial(handler, notice.body))

    def lose(self) -> None:
        """The writer is gone: what was sent has no answer, what was not may still have one."""
        self._is_attached = False
        self._unsent = [ask for ask in self._unsent if ask.number]
        unsent = {ask.number for ask in self._unsent}
        self._fail([number for number in self._waiting if number not in unsent])

    def give_up(self) -> None:
        """Nobody comes: what waits for a writer is answered."""
        self._fail([ask.number for ask in self.take()])

    def _fail(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            on_reply = self._waiting.pop(number)
            gone = Overloaded("the writer was started anew before it answered; try again")
            _guarded(partial(on_reply, gone))


def _answer(answered: Answered) -> Answer:
    if answered.body is not None:
        return answered.body
    assert answered.failure is not None, "one of the two"
    return error_of(answered.failure)


def _guarded(callback: Callable[[], None]) -> None:
    """Call somebody whose failure is not ours."""
    try:
        callback()
    except Exception:
        _logger.exception("the owner of a call failed")
