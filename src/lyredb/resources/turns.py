"""Whose turn it is to read: catching up costs a worker a bounded part of each tick.

Everybody who reads current state or a missed part of the log does it in steps, and asks
for a turn before each. Turns are given in order of asking, for at most `BUDGET_S` per tick:
when a thousand subscribers come back at once, live ones wait no longer than for one.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

BUDGET_S: Final = 0.001
"""Of a tick; a step is at most 64 kB and takes a fraction of it, a large one goes beyond it
alone. What is live then waits about as long as for one batch of the log."""

_log = logging.getLogger(__name__)


class Reading(Protocol):
    """Who reads in steps."""

    def take_turn(self) -> None:
        """Make one step, and ask again if there is more."""

    def end(self, reason: Exception) -> None:
        """A step failed: it goes no further."""


class Turns:
    """The queue of a worker.

    Args:
        call_soon: Runs a function in the next tick.
        clock: In seconds, fine enough for the budget.
    """

    def __init__(
        self,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._call_soon = call_soon
        self._clock = clock
        self._queue: deque[Reading] = deque()
        self._waiting: set[Reading] = set()
        self._is_scheduled = False

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def ask(self, reading: Reading) -> None:
        """Give a turn in one of the next ticks; does nothing for who waits already."""
        if reading in self._waiting:
            return
        self._waiting.add(reading)
        self._queue.append(reading)
        if not self._is_scheduled:
            self._schedule()

    def forget(self, reading: Reading) -> None:
        """Give no turn to who does not want it any more."""
        if reading in self._waiting:
            self._waiting.remove(reading)
            self._queue.remove(reading)

    def _schedule(self) -> None:
        self._is_scheduled = True
        self._call_soon(self._run)

    def _run(self) -> None:
        self._is_scheduled = False
        until = self._clock() + BUDGET_S
        for _ in range(len(self._queue)):  # not those who ask again meanwhile
            if not self._queue:
                break  # a turn made others leave
            reading = self._queue.popleft()
            self._waiting.remove(reading)
            self._give(reading)
            if self._clock() >= until:
                break
        if self._queue and not self._is_scheduled:
            self._schedule()

    def _give(self, reading: Reading) -> None:
        try:
            reading.take_turn()
        except Exception as error:
            # The edge of a subscription: what fails in it must not cost the others theirs.
            _log.exception("a subscription could not be read for and ends")
            reading.end(error)
