"""Both ends of the calls in one process, where the writer is inline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from lyredb.storage.remote.client_calls import ClientCalls
from lyredb.storage.remote.service_calls import ServiceCalls
from lyredb.storage.remote.wire import Answered, Ask, Notice, answered
from lyredb.storage.sequencer import Answer

WORKER: Final = 0
"""The number of the only worker."""


class LocalCalls:
    """Joins a worker's calls to their service; everything comes in the next tick.

    Args:
        loop: The loop that calls and is called.

    Attributes:
        calls: The worker's end; see `sequencer.Calls`.
        service: The writer's end; see `sequencer.CallService`.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.calls = ClientCalls(self._schedule, loop)
        self.service = ServiceCalls(self._notifier, lambda: (WORKER,))
        self._is_scheduled = False
        self._answers: list[Answered] = []
        self._notices: list[Notice] = []
        self.calls.announce()

    def _notifier(self, worker: int) -> Callable[[Notice], None] | None:
        return self._notify if worker == WORKER else None

    def _notify(self, notice: Notice) -> None:
        self._notices.append(notice)
        self._schedule()

    def _answer(self, number: int, answer: Answer) -> None:
        self._answers.append(answered(number, answer))
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._exchange)

    def _exchange(self) -> None:
        """Bring answers and notices to the one end, then calls to the other."""
        self._is_scheduled = False
        answers, self._answers = self._answers, []
        notices, self._notices = self._notices, []
        self.calls.come(answers, notices)
        for ask in self.calls.take():
            self._dispatch(ask)

    def _dispatch(self, ask: Ask) -> None:
        self.service.dispatch(WORKER, ask, partial(self._answer, ask.number))
