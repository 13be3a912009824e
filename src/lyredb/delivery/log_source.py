"""What the log got after a position, in steps, found through its index."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol

from lyredb.delivery.position import format_position
from lyredb.errors import PositionLost
from lyredb.storage.entry import Entry
from lyredb.storage.frontier import KeyRange, Row
from lyredb.storage.mutation import Kind

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine
    from lyredb.storage.snapshot import Snapshot

STEP_ENTRIES: Final = 200
"""One step's log entries, about 1 ms of work: what is live waits for no more than that."""

_seq = attrgetter("seq")


class Source(Protocol):
    """Where items come from, in the order in which they are told."""

    @property
    def done(self) -> bool:
        """True when everything up to `position` was given."""

    @property
    def position(self) -> int:
        """The log position that has been reached."""

    def covers(self, slot: int, key: bytes) -> bool:
        """Tell whether the state of a record was given as of `position`."""

    def step(self, max_bytes: int) -> list[tuple[Entry | Row, str]]:
        """Return the next items, each with the token to resume after it."""


class LogSource:
    """The entries after a position that lie in ranges of keys; implements `Source`."""

    def __init__(self, engine: Engine, ranges: Sequence[KeyRange], after: int) -> None:
        self._engine = engine
        self._log_id = engine.log_id.hex()
        self._ranges = ranges
        self.position = after
        self.done = False

    def covers(self, slot: int, key: bytes) -> bool:
        """As of `Source`: of no record before the end, since one may change again."""
        return self.done

    def step(self, max_bytes: int) -> list[tuple[Entry | Row, str]]:
        """As of `Source`; looks at no more than `STEP_ENTRIES`.

        Raises:
            PositionLost: The log was trimmed below the place where this stands.
        """
        items: list[tuple[Entry | Row, str]] = []
        with self._engine.snapshot() as snapshot:
            if self.position < snapshot.floor - 1:
                raise PositionLost("the log no longer holds what followed this position")
            entries = entries_in(snapshot, self._ranges, self.position, snapshot.position)
            for looked_at, entry in enumerate(entries, 1):
                if concerns(self._ranges, entry):
                    items.append((entry, format_position(self._log_id, entry.seq)))
                    max_bytes -= len(entry.image) + len(entry.payload)
                self.position = entry.seq
                if max_bytes <= 0 or looked_at == STEP_ENTRIES:
                    return items
            self.position = snapshot.position
        self.done = True
        return items


def entries_in(
    snapshot: Snapshot,
    ranges: Sequence[KeyRange],
    after: int,
    upto: int,
    *,
    reverse: bool = False,
) -> Iterator[Entry]:
    """Yield the entries with ``after < seq <= upto`` of the ranges, in order or backwards.

    Found by table, and by record where only single records are wanted, so there may be
    others of the tables among them; `concerns` tells.
    """
    sources = _sources(snapshot, ranges, after, upto, reverse=reverse)
    return heapq.merge(*sources, key=_seq, reverse=reverse)


def _sources(
    snapshot: Snapshot, ranges: Sequence[KeyRange], after: int, upto: int, *, reverse: bool
) -> Iterator[Iterator[Entry]]:
    by_slot: dict[int, list[KeyRange]] = {}
    for wanted in ranges:
        by_slot.setdefault(wanted.slot, []).append(wanted)
    for slot, of_slot in by_slot.items():
        one_by_one = all(is_one_key(wanted) for wanted in of_slot)
        for key in (wanted.start for wanted in of_slot) if one_by_one else (None,):
            yield snapshot.entries_of(slot, key, after, upto, reverse=reverse)


def concerns(ranges: Sequence[KeyRange], entry: Entry) -> bool:
    """Tell whether an entry is a change or message of what lies in the ranges."""
    return entry.kind <= Kind.MESSAGE and any(
        wanted.contains(entry.slot, entry.key) for wanted in ranges
    )


def is_one_key(wanted: KeyRange) -> bool:
    """Tell whether a range has one record only."""
    return wanted.stop == wanted.start + b"\x00"


def is_void(entry: Entry, now_ms: int) -> bool:
    """Tell whether it is a message past its expiry, not sent any more [MQTT-3.3.2-5]."""
    return entry.kind is Kind.MESSAGE and 0 < entry.expires_ms <= now_ms
