"""Where a replay of the log begins: after a time, or with the last entries.

A time is found by bisection. The last entries are looked for backwards, in steps as
bounded as any other reading: a filter may match few of a long log. From there the log is
told like after any position, so a replay is exact too, and goes on live.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lyredb.delivery.finding import Finder, concerns, is_one_key
from lyredb.delivery.log_source import STEP_ENTRIES, LogSource, is_void
from lyredb.errors import PositionLost
from lyredb.storage.entry import Entry
from lyredb.storage.frontier import KeyRange, Row
from lyredb.storage.retention import position_at

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine
    from lyredb.storage.snapshot import Snapshot

_TOO_OLD = "the log does not reach back to this time"
_GONE = "the log does not hold the last changes any more"


@dataclass(frozen=True, slots=True)
class ReplayStart:
    """What is replayed.

    Attributes:
        after_ms: What was committed later than this, in epoch milliseconds (the
            ``localTime`` of events); ``None`` for no such bound.
        count: The last so many, 0 for all.
    """

    after_ms: int | None = None
    count: int = 0


class ReplaySource:
    """A replay; a `lyredb.delivery.log_source.Source`.

    What is committed while it is told belongs to it as well.

    Args:
        engine: What to read.
        ranges: Where to look.
        start: What of it.
        is_wanted: Tells which entries of the ranges count.

    Raises:
        PositionLost: The log does not reach back to the time.
    """

    def __init__(
        self,
        engine: Engine,
        ranges: Sequence[KeyRange],
        start: ReplayStart,
        is_wanted: Callable[[Entry], bool],
    ) -> None:
        self._engine = engine
        self._ranges = ranges
        self._start = start
        self._is_wanted = is_wanted
        self._found = 0
        self._finder = Finder(ranges, is_brief=True)
        with engine.snapshot() as snapshot:
            self._lowest = _lowest(snapshot, start)
            # What was there at the beginning, and how far down it was looked at.
            self._upto = self._left = snapshot.position
        self._first = self._upto + 1
        self._log: LogSource | None = None
        if not start.count:
            self._log = LogSource(engine, ranges, self._lowest)

    @property
    def done(self) -> bool:
        """See `lyredb.delivery.log_source.Source`."""
        return self._log is not None and self._log.done

    @property
    def position(self) -> int:
        """The log position that has been reached; what was found so far lies behind it."""
        return self._left if self._log is None else self._log.position

    def covers(self, slot: int, key: bytes) -> bool:
        """See `lyredb.delivery.log_source.LogSource`."""
        return self.done

    def step(self, max_bytes: int) -> list[tuple[Entry | Row, str]]:
        """Return the next items; none while the place to begin is looked for.

        Raises:
            PositionLost: The log does not reach back any more, or has none of the last entries.
        """
        if self._log is None:
            self._look()
            return []
        return [item for item in self._log.step(max_bytes) if self._is_due(item[0])]

    def _is_due(self, item: Entry | Row) -> bool:
        """Versions find the place, and run ahead of a clock that was set back."""
        after_ms = self._start.after_ms
        return (
            after_ms is None
            or isinstance(item, Row)
            or self._is_later(item)
            or item.seq > self._upto
        )

    def _is_later(self, entry: Entry) -> bool:
        return self._start.after_ms is None or entry.local_ms > self._start.after_ms

    def _look(self) -> None:
        """Go back over a bounded part of the log."""
        with self._engine.snapshot() as snapshot:
            if self._start.after_ms is not None and self._lowest < snapshot.floor - 1:
                raise PositionLost(_TOO_OLD)
            if not self._finder.step(snapshot, self._lowest):
                return
            looked_at = 0
            entries = self._finder.entries(snapshot, self._lowest, self._left, reverse=True)
            for looked_at, entry in enumerate(entries, 1):
                self._left = entry.seq - 1
                if self._counts(entry, snapshot.now_ms):
                    self._found += 1
                    self._first = entry.seq
                if self._found == self._start.count or looked_at == STEP_ENTRIES:
                    break
            if self._found < self._start.count and looked_at == STEP_ENTRIES:
                return
            if not self._found and self._is_lost(snapshot):
                raise PositionLost(_GONE)
        self._log = LogSource(self._engine, self._ranges, self._first - 1)

    def _counts(self, entry: Entry, now_ms: int) -> bool:
        return (
            concerns(self._ranges, entry)
            and self._is_later(entry)
            and not is_void(entry, now_ms)
            and self._is_wanted(entry)
        )

    def _is_lost(self, snapshot: Snapshot) -> bool:
        """Tell whether there was something, when the log has nothing of it.

        Known of single records; of others whenever anything of the log is gone.
        """
        if self._start.after_ms is not None or not _is_trimmed(snapshot):
            return False
        return any(
            not is_one_key(wanted)
            or snapshot.stored(wanted.slot, wanted.start) is not None
            or snapshot.grave(wanted.slot, wanted.start) is not None
            for wanted in self._ranges
        )


def _is_trimmed(snapshot: Snapshot) -> bool:
    return snapshot.floor > 1


def _lowest(snapshot: Snapshot, start: ReplayStart) -> int:
    """Return the position after which everything lies that may be told.

    Raises:
        PositionLost: The log does not reach back to the time.
    """
    if start.after_ms is None:
        return snapshot.floor - 1
    if _is_trimmed(snapshot) and start.after_ms < snapshot.directory[0].first_ms:
        raise PositionLost(_TOO_OLD)
    return position_at(snapshot, start.after_ms + 1)
