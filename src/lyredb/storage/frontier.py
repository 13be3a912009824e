"""Current state and every later change, without gap or double: the moving frontier.

A scan over ranges of keys holds a frontier (K, L): all keys up to K have been given as
they were at position L, or later through entries. Each step takes one fresh snapshot at
P and gives first the entries in (L, P] of keys up to K, and messages of every key in
the ranges; then the next records behind K; then K is the last of them and L is P. So
memory is O(1) and nothing is pinned between steps. At the end the log alone goes on
from the position.

Why that is exact: a change behind K at or before P is in the page that is read at P or
later; a change up to K is an entry after L. Each is given once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from lyredb.errors import PositionLost
from lyredb.storage.entry import Entry
from lyredb.storage.mutation import Kind
from lyredb.storage.snapshot import DEFAULT_ENTRIES, DEFAULT_ENTRY_BYTES, Snapshot

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

DEFAULT_STEP_BYTES: Final = 64 * 1024
DEFAULT_STEP_MS: Final = 1.0
DEFAULT_STEP_RECORDS: Final = 100
"""Small ones cost by their number, most of it after they are read: to name, frame and send
one takes 8 µs, so a step holds up the others for about 1 ms. A request waits for several
steps, one in each turn of the loop that it takes. (600 of them in 64 kB held it up for 5.)"""


@dataclass(frozen=True, slots=True, order=True)
class KeyRange:
    """The keys ``start <= key < stop`` of a table; ``stop=None`` is the table's end."""

    slot: int
    start: bytes = b""
    stop: bytes | None = None

    def contains(self, slot: int, key: bytes) -> bool:
        """Tell whether a key is in the range."""
        return slot == self.slot and self.start <= key and (self.stop is None or key < self.stop)


class Frontier(NamedTuple):
    """How far a scan is: all up to ``(slot, key)`` is given as of ``position``."""

    slot: int
    key: bytes
    position: int


class Row(NamedTuple):
    """A record as current state."""

    slot: int
    key: bytes
    stored: bytes


Item: TypeAlias = Entry | Row


class Step(NamedTuple):
    """What one step gives.

    Attributes:
        items: Entries first, then rows; to be delivered in this order.
        frontier: Where a resumed scan goes on, once the items are delivered.
        done: Everything is given as of ``frontier.position``; the log goes on from there.
    """

    items: list[Item]
    frontier: Frontier
    done: bool


class FrontierScan:
    """A scan over ranges; each `step` opens a snapshot and closes it again.

    Args:
        engine: What to read.
        ranges: Not overlapping; scanned in the order of slots and keys.
        resume: The frontier of a former scan over the same ranges.
    """

    def __init__(
        self, engine: Engine, ranges: Sequence[KeyRange], resume: Frontier | None = None
    ) -> None:
        self._engine = engine
        self._ranges = sorted(ranges, key=lambda wanted: (wanted.slot, wanted.start))
        self._frontier = resume
        self._done = False

    @property
    def done(self) -> bool:
        """All is given; `position` is where the log goes on."""
        return self._done

    @property
    def position(self) -> int:
        """The position of the frontier, 0 before the first step."""
        return self._frontier.position if self._frontier else 0

    def step(
        self,
        max_bytes: int = DEFAULT_STEP_BYTES,
        max_ms: float = DEFAULT_STEP_MS,
        max_records: int = DEFAULT_STEP_RECORDS,
    ) -> Step:
        """Give what has changed behind the frontier, and the next records.

        Args:
            max_bytes: Records are taken until they have so many bytes, at least one.
            max_ms: Records are taken for this time. Entries are not bounded by it: at
                most 2,000 a step, and no records before all entries are given.
            max_records: At most so many.

        Raises:
            PositionLost: The log no longer holds what followed the frontier's position;
                a new scan must begin.
            EngineClosed: The engine was closed.
        """
        with self._engine.snapshot() as snapshot:
            if self._frontier is None:
                self._frontier = Frontier(-1, b"", snapshot.position)
            items: list[Item] = []
            position = self._read_log(snapshot, self._frontier, items)
            self._frontier = self._frontier._replace(position=position)
            if position == snapshot.position and not self._done:
                self._read_records(snapshot, items, max_bytes, max_ms, max_records)
            return Step(items, self._frontier, self._done)

    def _read_log(self, snapshot: Snapshot, frontier: Frontier, items: list[Item]) -> int:
        """Take the entries that concern what is given; return the position reached."""
        position = frontier.position
        if position < snapshot.floor - 1:
            raise PositionLost("the log no longer holds what followed this position")
        entries = snapshot.entries(position, limit=DEFAULT_ENTRIES, max_bytes=DEFAULT_ENTRY_BYTES)
        for entry in entries:
            if self._concerns(entry, frontier):
                items.append(entry)
        return entries[-1].seq if entries else position

    def _concerns(self, entry: Entry, frontier: Frontier) -> bool:
        if entry.kind is Kind.SCHEMA or entry.kind is Kind.ACCESS:
            return False
        given = (entry.slot, entry.key) <= frontier[:2] or self._done
        if not given and entry.kind is not Kind.MESSAGE:
            return False
        return any(wanted.contains(entry.slot, entry.key) for wanted in self._ranges)

    def _read_records(
        self,
        snapshot: Snapshot,
        items: list[Item],
        max_bytes: int,
        max_ms: float,
        max_records: int,
    ) -> None:
        """Take the next records and move the frontier over them."""
        assert self._frontier is not None, "set by step"
        deadline = time.monotonic() + max_ms / 1000
        slot, key, position = self._frontier
        upto = len(items) + max_records
        for wanted in self._ranges:
            if wanted.slot < slot or (
                wanted.slot == slot and wanted.stop is not None and wanted.stop <= key
            ):
                continue
            after = key if wanted.slot == slot else None
            for found, stored in snapshot.scan(wanted.slot, wanted.start, wanted.stop, after=after):
                items.append(Row(wanted.slot, found, stored))
                self._frontier = Frontier(wanted.slot, found, position)
                max_bytes -= len(stored)
                if max_bytes <= 0 or len(items) >= upto or time.monotonic() > deadline:
                    return
        self._done = True
