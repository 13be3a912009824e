"""Messages at a steady pace, and how long each took.

Latency runs from the moment at which a message was due, if the one before it was late:
a server that stalls for a second must not count as one slow message but as all that
waited. Otherwise it runs from the send, since the load's own sleep is not exact.
"""

from __future__ import annotations

import time


class Pace:
    """Waits for the next message's time and notes latencies.

    Args:
        rate_hz: Messages a second.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_s = 1 / rate_hz
        self._due = 0.0
        self._from = 0.0
        self._latencies: list[float] = []

    def begin(self) -> None:
        """Forget what was; the next message is due now."""
        self._latencies.clear()
        self._due = time.perf_counter()

    def wait(self) -> None:
        """Return when the next message is due, or at once when it is late."""
        rest = self._due - time.perf_counter()
        if rest > 0:
            time.sleep(rest)
            self._from = time.perf_counter()
        else:
            self._from = self._due or time.perf_counter()
        self._due = (self._due or self._from) + self._period_s

    def note_arrival(self) -> None:
        """The message has arrived everywhere."""
        self._latencies.append(time.perf_counter() - self._from)

    def quantiles_ms(self) -> tuple[float, float]:
        """Return p50 and p99."""
        ordered = sorted(self._latencies)
        if not ordered:
            return 0.0, 0.0
        return (
            ordered[len(ordered) // 2] * 1000,
            ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000,
        )
