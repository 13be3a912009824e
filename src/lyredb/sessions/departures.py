"""Wills of connections that are gone and are not published yet. No I/O and no clock.

A will waits here for its delay to pass, or, after the server was started anew, for its
client to come back. It leaves by exactly one way: somebody takes it to publish it, or to
discard it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

from lyredb.sessions.wills import KeptWill

_SPARE: Final = 1_000
"""So many deadlines of wills that have left are kept before they are swept out: a client
that comes and goes each second with a delay of a day would leave 86,400."""


@dataclass(frozen=True, slots=True)
class Departure:
    """A will that waits.

    Attributes:
        kept: The will, with the time at which it is published.
        is_cut: The server was what went away, and not the client: a client that is back
            in time has not gone, so that even a clean start does not publish its will.
    """

    kept: KeptWill
    is_cut: bool = False


class Departures:
    """The wills that wait, by connection and by time."""

    def __init__(self) -> None:
        self._by_epoch: dict[int, Departure] = {}
        self._of_client: dict[str, list[int]] = {}
        self._due: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._by_epoch)

    @property
    def next_ms(self) -> int | None:
        """No will is due before this time; None when there is none at all."""
        while self._due and not self._is_there(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def add(self, departure: Departure) -> None:
        """Let a will wait; it replaces what waits for the same connection."""
        kept = departure.kept
        if kept.epoch not in self._by_epoch:
            self._of_client.setdefault(kept.client_id, []).append(kept.epoch)
        self._by_epoch[kept.epoch] = departure
        heapq.heappush(self._due, (kept.due_ms, kept.epoch))
        if len(self._due) > 2 * len(self._by_epoch) + _SPARE:
            self._due = [(one.kept.due_ms, epoch) for epoch, one in self._by_epoch.items()]
            heapq.heapify(self._due)

    def pop(self, epoch: int) -> Departure | None:
        """Take the will of a connection, None when none waits."""
        departure = self._by_epoch.pop(epoch, None)
        if departure is None:
            return None
        client_id = departure.kept.client_id
        epochs = self._of_client[client_id]
        epochs.remove(epoch)
        if not epochs:
            del self._of_client[client_id]
        return departure

    def of(self, client_id: str) -> list[Departure]:
        """The wills that wait of a client's connections, the oldest first."""
        return [self._by_epoch[epoch] for epoch in self._of_client.get(client_id, ())]

    def take_due(self, now_ms: int) -> list[Departure]:
        """Take the wills whose time has come, in the order of their times."""
        taken = []
        while (due_ms := self.next_ms) is not None and due_ms <= now_ms:
            departure = self.pop(heapq.heappop(self._due)[1])
            assert departure is not None, "it was there a moment ago"
            taken.append(departure)
        return taken

    def _is_there(self, due_ms: int, epoch: int) -> bool:
        departure = self._by_epoch.get(epoch)
        return departure is not None and departure.kept.due_ms == due_ms
