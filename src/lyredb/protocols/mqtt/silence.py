"""How long a client may be silent: its keep-alive, or the server's idle time without one."""

from __future__ import annotations

from typing import Protocol

from lyredb.protocols.mqtt.reasons import Reason
from lyredb.protocols.mqtt.wheel import Timed, Wheel


class Heard(Timed, Protocol):
    """Who may be silent for too long.

    Attributes:
        heard: The tick at which something came; whoever reads sets it.
    """

    heard: int


class Silence:
    """The time since a client was heard of, in ticks of the wheel."""

    __slots__ = ("_idle_s", "_keep_alive_s", "_ticks")

    def __init__(self) -> None:
        self._ticks = 0
        self._keep_alive_s = 0
        self._idle_s = 0.0

    def start(self, timed: Heard, wheel: Wheel, keep_alive_s: int, idle_s: float) -> None:
        """Count from now on; nothing is counted when both are 0.

        Args:
            timed: The connection, which the wheel calls.
            wheel: The timer.
            keep_alive_s: In force; the client has 1.5 times as long (MQTT 5 §3.1.2.10).
            idle_s: For a client without a keep-alive.
        """
        self._keep_alive_s, self._idle_s = keep_alive_s, idle_s
        timed.heard = wheel.tick
        wheel.remove(timed)
        allowed_s = keep_alive_s * 1.5 or idle_s
        if allowed_s:
            self._ticks = Wheel.ticks(allowed_s)
            wheel.put(timed, self._ticks)

    def is_too_long(self, timed: Heard, wheel: Wheel, *, is_read: bool) -> bool:
        """Tell whether the client has to go; else the wheel calls again.

        A client that is not read cannot be heard of: for it the time stands still.
        """
        if not is_read:
            timed.heard = wheel.tick
        silent = wheel.tick - timed.heard
        if silent >= self._ticks:
            return True
        wheel.put(timed, self._ticks - silent)
        return False

    @property
    def verdict(self) -> tuple[Reason, str]:
        """What a client is told that was silent for too long."""
        if self._keep_alive_s:
            return Reason.KEEP_ALIVE_TIMEOUT, "No packet within 1.5 times the Keep Alive"
        return Reason.ADMINISTRATIVE_ACTION, f"No packet within {self._idle_s:g} s"
