"""Where each filter of a session goes on after it slept.

A session has one position, up to which all of its filters have told everything. A filter
that began later, or whose current state or replay was not told to its end, has a start of its
own; that of a replay is before the position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from msgspec.structs import replace

from lyredb.delivery.position import parse_position
from lyredb.plugins.delivery import Message
from lyredb.resources.reached import Reached
from lyredb.storage.session_row import REPLAY, Start


class Reader(Protocol):
    """A subscription, as the session needs it."""

    def reached(self) -> Reached:
        """How far it has handed out what it tells."""


class Scan:
    """Current state of a filter that is under way to the client, or a replay.

    Attributes:
        has_begun: A message of it has come.
        start: Up to where its messages have been sent.
        waiting: Messages of it that wait to be sent.
    """

    __slots__ = ("has_begun", "start", "waiting")

    def __init__(self, start: Start, *, has_begun: bool = True) -> None:
        self.has_begun = has_begun
        self.start = start
        self.waiting = 0

    def note_taken(self, message: Message) -> bool:
        """Note that a message of it waits.

        True for the first one of a replay, which says where that begins: to be written soon.
        """
        self.waiting += 1
        if self.has_begun:
            return False
        self.has_begun = True
        self.start = Start(self.start.filter, message.seq - 1, REPLAY)
        return True

    def note_sent(self, message: Message) -> None:
        """Note that a message of it has left the queue."""
        place = parse_position(message.position)
        self.waiting -= 1
        slot = REPLAY if self.start.slot == REPLAY else place.slot
        self.start = Start(self.start.filter, place.seq, slot, place.key or b"")


class Starts:
    """The starts of a session's filters.

    Args:
        position: Of the session.
        starts: Of filters that do not go on there.
        last: Returns the position that this worker has told.
    """

    __slots__ = ("_last", "_old", "_scans", "_starts", "position")

    def __init__(self, position: int, starts: Iterable[Start], last: Callable[[], int]) -> None:
        self.position = position
        self._last = last
        self._old: set[str] = set()
        self._starts = {one.filter: one for one in starts}
        self._scans = {
            one.filter: Scan(one) for one in self._starts.values() if one.slot is not None
        }

    def of(self, filter: str) -> Start:
        """Where a filter of the last owner goes on."""
        start = self._starts.get(filter)
        return Start(filter, self.position) if start is None else start

    def begin(
        self, filter: str, *, is_current: bool, is_old: bool, is_replay: bool = False
    ) -> None:
        """Note that a filter begins anew: with current state, or with changes from now on.

        Args:
            filter: As the client sent it.
            is_current: With current state.
            is_old: The session has it already: what came for it and is not sent stays due.
            is_replay: A part of the log comes before that.
        """
        after = self.of(filter).seq if is_old else self._last()
        start = Start(filter, after, 0 if is_current else None)
        (self._old.add if is_old and not is_current else self._old.discard)(filter)
        self._starts[filter] = start
        self._scans.pop(filter, None)
        if is_current:
            self._scans[filter] = Scan(start)
        elif is_replay:
            self._scans[filter] = Scan(replace(start, slot=REPLAY), has_begun=False)

    def forget(self, filter: str) -> None:
        """Note that a filter is gone."""
        self._starts.pop(filter, None)
        self._scans.pop(filter, None)
        self._old.discard(filter)

    def scan_of(self, filter: str) -> Scan | None:
        """The current state of a filter, while it is under way."""
        return self._scans.get(filter)

    def reached(self, readers: Mapping[str, Reader], waiting: int) -> tuple[int, tuple[Start, ...]]:
        """The session's position, and the starts of filters that do not go on there.

        Args:
            readers: The subscriptions, by filter.
            waiting: The position before the first that waits to be sent, -1 for none.
        """
        places = [] if waiting < 0 else [waiting]
        for filter, reader in readers.items():
            places.append(self._place(filter, reader.reached(), waiting))
        self.position = max(self.position, min(places, default=self._last()))
        return self.position, self.kept()

    def _place(self, filter: str, reached: Reached, waiting: int) -> int:
        """Up to where a filter has told everything; notes where it would go on.

        What waits may be what another filter has told in its place, and that one may go.
        """
        scan = self._scans.get(filter)
        if scan is not None and scan.has_begun:
            is_behind = scan.start.slot == REPLAY and reached.position < self.position
            if reached.is_scanning or scan.waiting or is_behind:
                self._starts[filter] = scan.start
                return scan.start.seq
            del self._scans[filter]
            self._starts.pop(filter, None)
        if filter not in self._old:
            since = reached.since
            if 0 <= waiting < since:
                since = max(reached.begun, waiting)
            self._starts[filter] = Start(filter, since)
        return reached.position

    def kept(self) -> tuple[Start, ...]:
        """The starts of filters that do not go on at the session's position."""
        self._starts = {
            filter: start
            for filter, start in self._starts.items()
            if start.slot is not None or start.seq > self.position or self._is_scanning(filter)
        }
        return tuple(self._starts.values())

    def _is_scanning(self, filter: str) -> bool:
        scan = self._scans.get(filter)
        return scan is not None and scan.has_begun
