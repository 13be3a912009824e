"""One coarse timer for all connections: keep-alive, connect timeout, lingering close.

A timer of the event loop per connection costs a heap entry and a callback each time
it moves. Here a connection stands in the bucket of the tick at which it has to be
looked at; what it hears meanwhile only sets a number (`Wheel.tick`), and whoever was
heard of in time is moved to a later bucket when its bucket comes up. So a busy
connection costs one look per timeout, whatever it sends.

Precision is one tick, always late and never early.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

TICK_S = 0.5
"""Late by at most this. The shortest keep-alive allows 1.5 s (MQTT 5 §3.1.2.10)."""


class Cancellable(Protocol):
    """A timer that was started, as `asyncio.TimerHandle`."""

    def cancel(self) -> None:
        """Stop it."""


class Timed(Protocol):
    """What can stand in the wheel.

    Attributes:
        due: The bucket that it stands in, -1 for none; written by the wheel only.
    """

    due: int

    def on_time(self) -> None:
        """Its tick has come and it is out of the wheel; may call `Wheel.put`."""


class Wheel:
    """Buckets by tick.

    Attributes:
        tick: The present tick; grows by one every `TICK_S` while anything waits.

    Args:
        call_later: Starts a timer, as ``loop.call_later``.
    """

    def __init__(self, call_later: Callable[[float, Callable[[], None]], Cancellable]) -> None:
        self.tick = 0
        self._call_later = call_later
        self._buckets: dict[int, set[Timed]] = {}
        self._timer: Cancellable | None = None

    @staticmethod
    def ticks(duration_s: float) -> int:
        """The number of ticks that last at least ``duration_s``.

        One more than the quotient, as the present tick has partly gone by.
        """
        return int(-(-duration_s // TICK_S)) + 1

    def put(self, timed: Timed, ticks: int) -> None:
        """Look at ``timed`` after this many ticks (at least one) and not before."""
        self.remove(timed)
        timed.due = self.tick + max(1, ticks)
        self._buckets.setdefault(timed.due, set()).add(timed)
        self._start()

    def _start(self) -> None:
        if self._timer is None:
            self._timer = self._call_later(TICK_S, self._advance)

    def remove(self, timed: Timed) -> None:
        """Forget ``timed``; nothing happens when it is not there."""
        bucket = self._buckets.get(timed.due)
        if bucket is not None:
            bucket.discard(timed)
            if not bucket:
                del self._buckets[timed.due]
        timed.due = -1

    def close(self) -> None:
        """Stop the timer and forget everybody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for bucket in self._buckets.values():
            for timed in bucket:
                timed.due = -1
        self._buckets.clear()

    def _advance(self) -> None:
        self._timer = None
        self.tick += 1
        for timed in self._buckets.pop(self.tick, ()):
            # An earlier one of this bucket may have ended this one and removed it.
            if timed.due == self.tick:
                timed.due = -1
                timed.on_time()
        if self._buckets:
            self._start()
