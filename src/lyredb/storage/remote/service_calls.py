"""The end of the calls where the writer is: who answers which kind."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from lyredb.errors import LyreError, StorageError, UnsupportedOperation
from lyredb.storage.remote.wire import Ask, Notice
from lyredb.storage.sequencer import Answer, Reply

_logger: Final = logging.getLogger(__name__)


class ServiceCalls:
    """The `CallService` of a process that writes.

    Args:
        notifier: Returns how a worker is told something, ``None`` when it is away.
        workers: Returns the numbers of those that are there.
    """

    def __init__(
        self,
        notifier: Callable[[int], Callable[[Notice], None] | None],
        workers: Callable[[], tuple[int, ...]],
    ) -> None:
        self._notifier = notifier
        self._workers = workers
        self._handlers: dict[str, Callable[[int, bytes, Reply], None]] = {}
        self._on_detach: list[Callable[[int], None]] = []

    def serve(self, kind: str, handler: Callable[[int, bytes, Reply], None]) -> None:
        """Have a handler called for each call and notice of a kind; see `CallService`."""
        self._handlers[kind] = handler

    def notify(self, worker: int, kind: str, body: bytes) -> None:
        """Tell a worker something; lost when that worker is away."""
        tell = self._notifier(worker)
        if tell is not None:
            tell(Notice(kind, body))

    def on_detach(self, callback: Callable[[int], None]) -> None:
        """Have `callback` called with the number of each worker that went away."""
        self._on_detach.append(callback)

    @property
    def workers(self) -> tuple[int, ...]:
        """The numbers of the workers that are attached and have said who they are."""
        return self._workers()

    def dispatch(self, worker: int, ask: Ask, reply: Reply) -> None:
        """Hand one call to its handler; a notice is one that nobody waits for."""
        if not ask.number:
            reply = _ignore
        handler = self._handlers.get(ask.kind)
        if handler is None:
            reply(UnsupportedOperation(f"the writer serves no calls of the kind {ask.kind}"))
            return
        try:
            handler(worker, ask.body, reply)
        except LyreError as error:
            reply(error)
        except Exception:
            _logger.exception("a call of the kind %s failed", ask.kind)
            reply(StorageError("the call failed in the writer"))

    def tell_detached(self, worker: int) -> None:
        """Tell everybody that a worker is gone."""
        for callback in self._on_detach:
            try:
                callback(worker)
            except Exception:
                _logger.exception("the end of worker %d could not be handled", worker)


def _ignore(_: Answer) -> None:
    """Where the answer to a notice goes."""
