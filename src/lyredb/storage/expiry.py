"""The removal of records that are gone by themselves.

A record is hidden from its deadline on, by every read. Removal is for the log, for
subscribers and for space: deletions with the reason, in bounded transactions on the bulk
lane, found by the table's index of deadlines. Where a removal stands is nowhere stored: what
is removed is in the index no more, so that one that was broken off simply goes on.

Runs begin when a table's interval comes round on the clock on the wall, not so long after the
start: an interval of 15 minutes at :00, :15, :30 and :45 of the local time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from lyredb.errors import DiskFull, LyreError
from lyredb.storage.keys import encode_index_value
from lyredb.storage.layout import IndexLayout, IndexSource, TableLayout
from lyredb.storage.mutation import Applied, DeleteReason, Kind, Mutation
from lyredb.storage.record import decode_header
from lyredb.storage.sequencer import Result, Sequencer

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

DEFAULT_SCAN_MS: Final = 1000
"""Between two looks at a table whose schema names no interval. A look at a table of which
nothing is gone costs some 20 µs, and subscribers want to know soon."""
BATCH_RECORDS: Final = 200
"""Of one transaction. It takes the writer 2 to 3 ms, which is what others may wait for it."""

_logger: Final = logging.getLogger(__name__)


def interval_ms(layout: TableLayout) -> int:
    """Return how often what is gone is removed from a table."""
    return layout.scan_interval_ms or DEFAULT_SCAN_MS


def local_offset_ms(now_ms: int) -> int:
    """Return how far the clock on the wall is ahead of UTC."""
    return time.localtime(now_ms / 1000).tm_gmtoff * 1000


@dataclass(frozen=True, slots=True)
class ExpiryStatistics:
    """Numbers of removals since the process began.

    Attributes:
        expired: Records removed because their deadline had passed.
        evicted: Of tables that keep such records for a time, after that time.
        tables: In which a removal is under way now.
    """

    expired: int
    evicted: int
    tables: int


class Expiry:
    """Removes what is gone from all tables of an engine.

    Args:
        engine: The engine.
        writer: Its writer, in this process.
        offset_ms: Tells how far the local time is ahead of UTC at a time.
    """

    def __init__(
        self,
        engine: Engine,
        writer: Sequencer,
        *,
        offset_ms: Callable[[int], int] = local_offset_ms,
    ) -> None:
        self._engine = engine
        self._writer = writer
        self._offset_ms = offset_ms
        self._turns: dict[int, int] = {}
        """Per table, the number of the interval that it was last looked at in."""
        self._cutoffs: dict[int, int] = {}
        """Per table whose removal is under way: the deadlines up to which it removes."""
        self._is_waiting = False
        self._expired = self._evicted = 0

    def tick(self) -> bool:
        """Begin what is due, unless a batch is with the writer; True if one was sent.

        Each batch sends the next one when it is answered, so that a tick now and then is
        enough.
        """
        if self._is_waiting or self._engine.is_closed or self._engine.failure:
            return False
        self._begin_due()
        return self._send_next()

    def statistics(self) -> ExpiryStatistics:
        """Return the numbers of this moment."""
        return ExpiryStatistics(self._expired, self._evicted, len(self._cutoffs))

    def _begin_due(self) -> None:
        now_ms = self._engine.now_ms()
        wall_ms = now_ms + self._offset_ms(now_ms)
        for slot, (layout, _) in dict(self._tables()).items():
            turn = wall_ms // interval_ms(layout)
            if self._turns.setdefault(slot, turn) != turn:
                self._turns[slot] = turn
                self._cutoffs[slot] = now_ms - layout.eviction_ms

    def _tables(self) -> Iterator[tuple[int, tuple[TableLayout, IndexLayout]]]:
        """The tables with a complete index of deadlines."""
        for slot, layout in self._engine.layouts.items():
            for index in layout.indexes:
                is_complete = index.slot not in self._engine.building
                if index.source is IndexSource.EXPIRES and is_complete:
                    yield slot, (layout, index)

    def _send_next(self) -> bool:
        """Send a batch of the next table that has one; tables take turns."""
        tables = dict(self._tables())
        for slot in list(self._cutoffs):
            cutoff_ms = self._cutoffs.pop(slot)
            if slot not in tables:
                continue
            layout, index = tables[slot]
            batch = self._gone(layout, index, cutoff_ms)
            if batch:
                self._cutoffs[slot] = cutoff_ms  # behind the others
                return self._send(slot, batch)
        return False

    def _gone(self, layout: TableLayout, index: IndexLayout, cutoff_ms: int) -> list[Mutation]:
        """The deletions of the records whose deadlines passed first."""
        reason = DeleteReason.EVICTED if layout.eviction_ms else DeleteReason.EXPIRED
        batch: list[Mutation] = []
        behind = encode_index_value(cutoff_ms + 1)
        with self._engine.snapshot() as snapshot:
            for _, key in islice(snapshot.scan_index(index.slot, b"", behind), BATCH_RECORDS):
                stored = snapshot.stored(layout.slot, key)
                assert stored is not None, "index and records are of one commit"
                full_id = decode_header(stored).full_id
                batch.append(
                    Mutation(layout.slot, key, Kind.DELETE, full_id=full_id, reason=reason)
                )
        return batch

    def _send(self, slot: int, batch: list[Mutation]) -> bool:
        self._is_waiting = True
        try:
            self._writer.submit(batch, lambda result: self._take(slot, batch, result), bulk=True)
        except LyreError as error:
            self._put_off(slot, error)
            return False
        return True

    def _take(self, slot: int, batch: list[Mutation], result: Result) -> None:
        self._is_waiting = False
        if not isinstance(result, Applied):
            self._put_off(slot, result)
            return
        removed = sum(outcome.seq > 0 for outcome in result.outcomes)
        if batch[0].reason is DeleteReason.EVICTED:
            self._evicted += removed
        else:
            self._expired += removed
        if not removed:  # all were written again, or the clock was set back
            self._cutoffs.pop(slot, None)
        self._send_next()

    def _put_off(self, slot: int, error: LyreError) -> None:
        """Leave it to the next turn of the table."""
        self._is_waiting = False
        self._cutoffs.pop(slot, None)
        level = logging.DEBUG if isinstance(error, DiskFull) else logging.WARNING
        _logger.log(level, "records that are gone stay for now: %s", error)
