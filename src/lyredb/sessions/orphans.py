"""Wills for which no connection is left: written by whoever has the directory.

They go to the log, retained or not, so that every worker tells them to its subscribers.
A worker may have had thousands of clients: a bounded number waits at the writer, and when
that has no room they are tried again, since nobody else can publish them any more.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Final

from lyredb.errors import EngineClosed, LyreError, Overloaded, StorageFailed
from lyredb.sessions.will_rows import WillRows
from lyredb.sessions.wills import KeptWill, row_name
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Result, Sequencer

_logger: Final = logging.getLogger(__name__)

Readmit = Callable[[Mutation, str, str], Mutation]

_AT_ONCE: Final = 100
_RETRY_S: Final = 0.1


class Orphans:
    """Writes wills, in order, each together with the removal of its row.

    Attributes:
        published: Wills that were written.
        failed: Wills that the writer refused.

    Args:
        writer: Where they go.
        call_later: As ``loop.call_later``.
        now_ms: Wall clock in epoch milliseconds, for deadlines.
        readmit: Decides about each, by its client, the role that others gave its user, and
            the rights of now; raises `NotAuthorised`.
        rows: Where those that cannot be published are removed from.
        is_settled: Tells of an epoch whether its will has no row any more: its worker had
            published it, and was lost before it could say so.
    """

    def __init__(
        self,
        writer: Sequencer,
        call_later: Callable[[float, Callable[[], None]], object],
        now_ms: Callable[[], int],
        readmit: Readmit,
        rows: WillRows,
        is_settled: Callable[[int], bool],
    ) -> None:
        self.published = 0
        self.failed = 0
        self._writer = writer
        self._call_later = call_later
        self._now_ms = now_ms
        self._readmit = readmit
        self._rows = rows
        self._is_settled = is_settled
        self._queue: deque[tuple[KeptWill, Callable[[], None]]] = deque()
        self._sent = 0
        self._is_resting = False

    @property
    def waiting(self) -> int:
        """Wills that are not written yet."""
        return len(self._queue) + self._sent

    def publish(self, kept: KeptWill, then: Callable[[], None]) -> None:
        """Write a will; ``then`` is called when that is done or cannot be."""
        if self._is_settled(kept.epoch):
            then()
            return
        self._queue.append((kept, then))
        self._go_on()

    def _go_on(self) -> None:
        while self._queue and self._sent < _AT_ONCE and not self._is_resting:
            self._send(*self._queue.popleft())

    def _send(self, kept: KeptWill, then: Callable[[], None]) -> None:
        def replied(result: Result) -> None:
            self._sent -= 1
            self._note(kept, result)
            then()
            self._go_on()

        try:
            will = kept.will.at(self._now_ms())
            mutation = self._readmit(will, kept.client_id, kept.will.role)
            removal = row_name(kept.epoch), None
            self._writer.submit((mutation,), replied, session_rows=(removal,))
        except Overloaded:
            self._queue.appendleft((kept, then))
            self._is_resting = True
            self._call_later(_RETRY_S, self._wake)
        except LyreError as error:
            self._note(kept, error)
            then()
        else:
            self._sent += 1

    def _wake(self) -> None:
        self._is_resting = False
        self._go_on()

    def _note(self, kept: KeptWill, result: Result) -> None:
        if not isinstance(result, LyreError):
            self.published += 1
            return
        self.failed += 1
        _logger.warning("the will of %r could not be published: %s", kept.client_id, result)
        if not isinstance(result, (EngineClosed, StorageFailed)):
            # Else it may be written, or will be: the row tells the next start.
            self._rows.delete(kept.epoch)
