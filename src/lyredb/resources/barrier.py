"""Waiting until every worker has told the log up to a position.

After that no worker decides by what held before: a filter that a durable session has got is
known everywhere, and whatever is published to it afterwards, anywhere, is logged.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Final

from lyredb.delivery.pressure import CallLater
from lyredb.delivery.tail import Tail

_FIRST_WAIT_S: Final = 0.0005
_LONGEST_WAIT_S: Final = 0.01
"""The slowest worker has mostly had its turn within 1 ms."""


class Barrier:
    """Calls back in the order of positions.

    A worker that hangs is waited for until the supervisor has replaced it: one that is not
    sure to know must not be passed over.

    Args:
        tail: Of this process.
        call_later: As ``loop.call_later``.
        passed: Tells whether every worker has told up to a position; ``None``: this process
            is the only one.
    """

    def __init__(
        self, tail: Tail, call_later: CallLater, passed: Callable[[int], bool] | None
    ) -> None:
        self._tail = tail
        self._call_later = call_later
        self._passed = passed
        self._numbers = count()
        self._waiting: list[tuple[int, int, Callable[[], None]]] = []
        self._is_polling = False
        self._wait_s = _FIRST_WAIT_S

    def when_told(self, position: int, callback: Callable[[], None]) -> None:
        """Call back once the log has been told up to a position by all; maybe at once.

        Args:
            position: Of a commit.
            callback: Must not raise.
        """
        if self._passed is None:
            self._tail.advance_to(position)
            callback()
            return
        heapq.heappush(self._waiting, (position, next(self._numbers), callback))
        if not self._is_polling:
            self._wait_s = _FIRST_WAIT_S
            self._poll()

    def _poll(self) -> None:
        self._is_polling = False
        assert self._passed is not None, "there are others"
        while self._waiting and self._passed(self._waiting[0][0]):
            self._wait_s = _FIRST_WAIT_S
            heapq.heappop(self._waiting)[2]()
        if self._waiting and not self._is_polling:
            self._is_polling = True
            self._call_later(self._wait_s, self._poll)
            self._wait_s = min(2 * self._wait_s, _LONGEST_WAIT_S)
