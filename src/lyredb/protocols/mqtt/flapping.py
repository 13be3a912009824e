"""Clients that connect and leave again and again are banned for a while.

Each connection costs a login, a claim and the rebuilding of subscriptions; two devices
with one identifier that take it from each other, or one that crashes at each message, do so
for ever. Counted by user and identifier: nobody can have another user's client banned. Each
worker counts its own, as connections come to all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_MAX_REMEMBERED: Final = 20_000
"""Clients; about 200 bytes each. The one whose first end is the oldest makes room."""


@dataclass(frozen=True, slots=True)
class FlappingLimits:
    """When a client is banned.

    Attributes:
        ends: So many ended connections within the window, 0 for never.
        window_s: See there.
        ban_s: How long no connection is let in.
    """

    ends: int = 0
    window_s: float = 60.0
    ban_s: float = 300.0

    def shared_by(self, workers: int) -> FlappingLimits:
        """Return the share of one of several workers."""
        return FlappingLimits(-(-self.ends // workers), self.window_s, self.ban_s)


@dataclass(slots=True)
class _Client:
    since_s: float
    ends: int = 0
    banned_until_s: float = 0.0


class Flapping:
    """Remembers who left, and how often.

    Args:
        limits: When to ban.
        clock: Monotonic seconds.
    """

    def __init__(self, limits: FlappingLimits, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._clients: dict[tuple[str, str], _Client] = {}

    def note_end(self, user: str, client_id: str) -> bool:
        """Note that a connection has ended; True when the client is banned by that."""
        limits = self._limits
        if not limits.ends:
            return False
        now_s, key = self._clock(), (user, client_id)
        client = self._clients.get(key)
        if client is None or now_s - client.since_s > limits.window_s:
            self._clients.pop(key, None)  # the order of the dict is that of the first ends
            client = self._clients[key] = _Client(now_s)
            self._make_room()
        client.ends += 1
        if client.ends < limits.ends or client.banned_until_s > now_s:
            return False
        client.banned_until_s = now_s + limits.ban_s
        return True

    def ban_s(self, user: str, client_id: str) -> float:
        """Return for how many seconds a client is still banned, 0 when it is not."""
        client = self._clients.get((user, client_id))
        if client is None or not client.banned_until_s:
            return 0.0
        left_s = client.banned_until_s - self._clock()
        if left_s > 0:
            return left_s
        del self._clients[user, client_id]
        return 0.0

    def _make_room(self) -> None:
        if len(self._clients) > _MAX_REMEMBERED:
            del self._clients[next(iter(self._clients))]
