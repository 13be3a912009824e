"""What waits for all slow readers of a worker together, and who has to go beyond the limit.

Each connection tells how much waits for it whenever that changes and is worth counting.
When the sum is above the limit, those with the most are cut off until a quarter is free:
their memory is freed by nothing else, as a reader that is stuck takes no last word.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger("lyredb.mqtt")


class Holder(Protocol):
    """A connection for which something waits."""

    def cut_off(self) -> None:
        """End at once and free what waits; notes 0."""


class Buffers:
    """The sum, by holder.

    Attributes:
        total: Bytes that wait and are counted.
        cut_off: Connections that were cut off so far.

    Args:
        limit: Of the sum.
        call_soon: Runs a function in the next tick: nobody is ended in the middle of a
            flush.
    """

    def __init__(self, limit: int, call_soon: Callable[[Callable[[], None]], object]) -> None:
        self.total = 0
        self.cut_off = 0
        self._limit = limit
        self._call_soon = call_soon
        self._sizes: dict[Holder, int] = {}
        self._is_scheduled = False

    def note(self, holder: Holder, size: int) -> None:
        """Set what waits for a connection; 0 for nothing that counts."""
        self.total += size - self._sizes.get(holder, 0)
        if size:
            self._sizes[holder] = size
        else:
            self._sizes.pop(holder, None)
        if self.total > self._limit and not self._is_scheduled:
            self._is_scheduled = True
            self._call_soon(self._make_room)

    def _make_room(self) -> None:
        self._is_scheduled = False
        if self.total <= self._limit:
            return
        goal = self._limit * 3 // 4
        for holder, size in sorted(self._sizes.items(), key=lambda item: -item[1]):
            if self.total <= goal:
                break
            logger.warning("mqtt: %d bytes wait in all, one client of %d goes", self.total, size)
            self.cut_off += 1
            holder.cut_off()
            self.note(holder, 0)
