"""Back-pressure: publishers wait for a congested subscriber, but never for long.

Who pushed to a group with a congested subscriber is not read until the subscriber has
drained or its credit is used up. The credit bounds what one slow reader can do to
others: 200 ms of waiting in 4 s. ("Nobody publishes while anybody is congested"
deadlocks: the congested one may itself be waiting to be read.) Beyond the credit
messages flow again, and the subscriber's own limit decides: drop, or close.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from lyredb.plugins.delivery import Publisher

CREDIT_S: Final = 0.2
PERIOD_S: Final = 4.0


class Timer(Protocol):
    """What ``call_later`` returns; `asyncio.TimerHandle` is one."""

    def cancel(self) -> None:
        """Do not call."""


CallLater = Callable[[float, Callable[[], None]], Timer]


class Awaited:
    """What publishers may have to wait for, with its credit.

    Attributes:
        key: Names it to publishers and to `Pressure.release`.
        paused: Publishers that wait for it.
        pause_began: When they began to wait, in seconds of the hub's clock.
        credit_began: When its present credit period began.
        credit_used_s: How long publishers have waited for it in that period.
    """

    __slots__ = ("credit_began", "credit_used_s", "key", "pause_began", "paused")

    def __init__(self, key: object) -> None:
        self.key = key
        self.paused: dict[Publisher, None] = {}
        self.pause_began = 0.0
        self.credit_began = float("-inf")
        self.credit_used_s = 0.0


class Pressure:
    """Pauses and resumes publishers.

    Attributes:
        pauses: How often a publisher was paused.
    """

    def __init__(
        self,
        now: Callable[[], float],
        call_later: CallLater,
        *,
        credit_s: float = CREDIT_S,
        period_s: float = PERIOD_S,
    ) -> None:
        self._now = now
        self._call_later = call_later
        self._credit_s = credit_s
        self._period_s = period_s
        self._timers: dict[Awaited, Timer] = {}
        self._waited_for: dict[object, Awaited] = {}
        self.pauses = 0

    @property
    def waiting(self) -> int:
        """How many subscribers have publishers waiting for them now."""
        return len(self._timers)

    def hold_back(self, publishers: Iterable[Publisher], reader: Awaited) -> None:
        """Pause these publishers until the reader has drained, if it has credit left."""
        fresh = [one for one in publishers if one not in reader.paused]
        if not fresh or not self._begin(reader):
            return
        for publisher in fresh:
            reader.paused[publisher] = None
            self.pauses += 1
            publisher.pause_reading(reader.key)

    def _begin(self, reader: Awaited) -> bool:
        """Start to use the reader's credit; False when there is none left."""
        if reader in self._timers:
            return True
        now = self._now()
        if now - reader.credit_began >= self._period_s:
            reader.credit_began = now
            reader.credit_used_s = 0.0
        left = self._credit_s - reader.credit_used_s
        if left <= 0:
            return False
        reader.pause_began = now
        self._waited_for[reader.key] = reader
        self._timers[reader] = self._call_later(left, lambda: self._spent(reader))
        return True

    def _spent(self, reader: Awaited) -> None:
        reader.credit_used_s = self._credit_s
        self._end(reader)

    def release(self, key: object) -> None:
        """Resume who waits for what has this key: it has drained."""
        reader = self._waited_for.get(key)
        if reader is not None:
            reader.credit_used_s += self._now() - reader.pause_began
            self._end(reader)

    def forget(self, reader: Awaited) -> None:
        """Resume who waits for a reader that is gone."""
        self.release(reader.key)

    def _end(self, reader: Awaited) -> None:
        self._timers.pop(reader).cancel()
        del self._waited_for[reader.key]
        paused, reader.paused = reader.paused, {}
        for publisher in paused:
            publisher.resume_reading(reader.key)
