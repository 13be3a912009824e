"""Flow control towards who sends: what stops it, and when others have their turn."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

logger: Final = logging.getLogger("lyredb.net")

TURN_S: Final = 0.005
"""How long one connection may work before everybody else has a turn. A read of 256 kB may
hold 40,000 frames of a WebSocket, or name thousands of new topics of MQTT."""
_LARGE_READ_BYTES: Final = 32_768
_LARGE_READ_S: Final = 0.001
"""uvloop calls up to 32 times in a row while its buffer comes back full: a large read
that took this long is a turn by itself."""


class Readable(Protocol):
    """The part of a transport that stops its peer."""

    def pause_reading(self) -> None:
        """Read no more."""

    def resume_reading(self) -> None:
        """Undo ``pause_reading``."""


class Turn:
    """The time that a connection has for what it has read; it looks at the clock itself.

    One for all connections of a protocol and a loop, of which one works at a time.

    Args:
        clock: Monotonic seconds, at the resolution of a microsecond; not the loop's,
            which stands still in between.
        call_soon: Runs a function in the next tick: what is left when a turn is over.
    """

    __slots__ = ("_began", "_clock", "call_soon")

    def __init__(
        self,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        self._clock = clock
        self.call_soon: Final = call_soon
        self._began = 0.0

    def begin(self) -> None:
        """Begin to work."""
        self._began = self._clock()

    @property
    def is_over(self) -> bool:
        """True when the rest has to wait."""
        return self._clock() - self._began >= TURN_S

    def ends_after(self, size: int) -> bool:
        """Tell whether a read of ``size`` bytes should be the last for now."""
        limit_s = _LARGE_READ_S if size >= _LARGE_READ_BYTES else TURN_S
        return self._clock() - self._began >= limit_s


class Reading:
    """The reasons why a transport is not read now.

    Args:
        transport: Paused with the first reason, resumed with the last.

    Attributes:
        is_paused: True while there is a reason.
    """

    __slots__ = ("_reasons", "_transport", "is_paused")

    def __init__(self, transport: Readable) -> None:
        self._transport = transport
        self.is_paused = False
        self._reasons: set[object] | None = None  # made when there is one, it has 216 bytes

    def pause(self, why: object) -> None:
        """Do not read until ``why`` is resumed; a second call with it does nothing."""
        if self._reasons is None:
            self._reasons = set()
            self.is_paused = True
            try:
                self._transport.pause_reading()
            except RuntimeError:
                # uvloop refuses between a failed write and `connection_lost`.
                logger.debug("a transport closed before it could be paused")
        self._reasons.add(why)

    def resume(self, why: object) -> bool:
        """Take a reason back; True when it was the last one."""
        if self._reasons is None or why not in self._reasons:
            return False
        self._reasons.discard(why)
        if self._reasons:
            return False
        self._reasons = None
        self.is_paused = False
        try:
            self._transport.resume_reading()
        except RuntimeError:
            logger.debug("a transport closed before it could be resumed")
        return True

    def forget(self) -> None:
        """Forget all reasons, of a transport that is closed."""
        self._reasons = None
        self.is_paused = False
