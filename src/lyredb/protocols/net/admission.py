"""Who may connect: how many at all, how many of one address, and how fast.

Refused before anything is read, so that a flood costs an accept and a close per
connection. What is remembered of addresses is bounded: those with connections by the
limit on connections, those without by `_MAX_IDLE`.

Loopback has no limits of its own: a proxy on this machine brings everybody's connections.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from lyredb.protocols.net.addresses import is_loopback, neighbourhood

Refusal = Literal["", "full", "address", "rate"]
"""Why somebody is not let in; ``""`` when it is."""

BURST_S: Final = 10.0
"""A whole office or a fleet behind one address comes back at once after a restart: so many
seconds' worth of connections may come without a pause."""
RESERVED: Final = 100
"""Places beyond the limit on all connections for ports that look after the server: whoever
takes all others must not have it pass for dead, nor hide that it is full."""
_MAX_IDLE: Final = 20_000
"""Addresses without a connection that are remembered for their rate: about 5 MB."""
_LOG_EVERY_S: Final = 1.0
_REASONS: Final = {
    "full": "there are %d connections already (network.maxConnections)",
    "address": "it has %d connections already (network.maxConnectionsPerAddress)",
    "rate": "it connects more often than %d times a second (network.connectRate)",
}

logger: Final = logging.getLogger("lyredb.net")


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Of one process; see ``settings.py`` for what each is for."""

    connections: int = 25_000
    per_address: int = 1_000
    per_second: int = 100

    def shared_by(self, workers: int) -> AdmissionLimits:
        """Return the share of one of several workers, among which the system deals."""
        return AdmissionLimits(*(-(-limit // workers) for limit in self._all))

    @property
    def _all(self) -> tuple[int, int, int]:
        return self.connections, self.per_address, self.per_second


@dataclass(frozen=True, slots=True)
class AdmissionStatistics:
    """Connections that are open, that were let in, and that were refused, by why."""

    open: int
    admitted: int
    refused_full: int
    refused_address: int
    refused_rate: int
    addresses: int


class _Caller:
    """One address: its connections, and a bucket of tokens, one per connection."""

    __slots__ = ("connections", "looked_s", "tokens")

    def __init__(self, tokens: float, now_s: float) -> None:
        self.connections = 0
        self.tokens = tokens
        self.looked_s = now_s


class Admission:
    """Counts and decides, for all listeners of a process.

    Args:
        limits: Of this process.
        is_exempt: Addresses that have neither a limit nor a rate of their own.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        limits: AdmissionLimits,
        *,
        is_exempt: Callable[[str], bool] = is_loopback,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._is_exempt = is_exempt
        self._clock = clock
        self._open = 0
        self._admitted = 0
        self._refused: dict[str, int] = dict.fromkeys(_REASONS, 0)
        self._busy: dict[str, _Caller] = {}
        self._idle: dict[str, _Caller] = {}
        self._logged_s = float("-inf")
        self._unsaid = 0

    def enter(self, host: str, *, is_reserved: bool = False) -> Refusal:
        """Let a connection in, or say why not. Whoever is in has to `leave`.

        Args:
            host: The peer's address.
            is_reserved: It may take one of the `RESERVED` places.
        """
        if self._open >= self.limits.connections + (RESERVED if is_reserved else 0):
            return self._refuse("full", host, self.limits.connections)
        if not self._is_exempt(host):
            refusal = self._enter_from(host)
            if refusal:
                return refusal
        self._open += 1
        self._admitted += 1
        return ""

    def leave(self, host: str) -> None:
        """Undo one `enter` that let somebody in."""
        self._open -= 1
        if self._is_exempt(host):
            return
        place = neighbourhood(host)
        caller = self._busy[place]
        caller.connections -= 1
        if not caller.connections:
            del self._busy[place]
            self._remember(place, caller)

    def statistics(self) -> AdmissionStatistics:
        """The numbers of this moment."""
        return AdmissionStatistics(
            open=self._open,
            admitted=self._admitted,
            refused_full=self._refused["full"],
            refused_address=self._refused["address"],
            refused_rate=self._refused["rate"],
            addresses=len(self._busy) + len(self._idle),
        )

    def _enter_from(self, host: str) -> Refusal:
        place, now = neighbourhood(host), self._clock()
        burst = max(1.0, self.limits.per_second * BURST_S)
        caller = self._busy.get(place) or self._idle.get(place)
        if caller is None:
            caller = _Caller(burst, now)
        gained = (now - caller.looked_s) * self.limits.per_second
        caller.tokens = min(burst, caller.tokens + gained)
        caller.looked_s = now
        if caller.connections >= self.limits.per_address:
            return self._refuse("address", host, self.limits.per_address)
        if caller.tokens < 1.0:
            return self._refuse("rate", host, self.limits.per_second)
        caller.tokens -= 1.0
        caller.connections += 1
        self._idle.pop(place, None)
        self._busy[place] = caller
        return ""

    def _remember(self, place: str, caller: _Caller) -> None:
        """Keep the rate of an address without connections; the oldest make room."""
        self._idle[place] = caller
        if len(self._idle) > _MAX_IDLE:
            del self._idle[next(iter(self._idle))]

    def _refuse(self, why: Refusal, host: str, limit: int) -> Refusal:
        self._refused[why] += 1
        now = self._clock()
        if now - self._logged_s < _LOG_EVERY_S:
            self._unsaid += 1
            return why
        more = f"; {self._unsaid} more were refused since the last line" if self._unsaid else ""
        self._logged_s, self._unsaid = now, 0
        logger.warning("refused a connection of %s: " + _REASONS[why] + more, host, limit)
        return why
