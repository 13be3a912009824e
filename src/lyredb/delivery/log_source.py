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
from lyredb.storage.record import last_seq_of

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine
    from lyredb.storage.snapshot import Snapshot

STEP_ENTRIES: Final = 200
"""One step's log entries, about 1 ms of work: what is live waits for no more than that."""

MAX_LOOKED_AT: Final = 1_000
"""Records and graves of which a step looks for those that were touched, 0.3 ms."""
MAX_TOUCHED: Final = 200
"""Of them, each of which costs 7 µs to find in the log's index: the time of a step's entries."""

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

    Found by record where few were touched, else by table, so there may be others of the
    tables among them; `concerns` tells.
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
        keys = touched_keys(snapshot, slot, of_slot, after)
        for key in (None,) if keys is None else keys:
            yield snapshot.entries_of(slot, key, after, upto, reverse=reverse)


def touched_keys(
    snapshot: Snapshot, slot: int, ranges: Sequence[KeyRange], after: int
) -> list[bytes] | None:
    """Return the keys of a table's ranges that the log has an entry of after a position.

    Each has a record or a grave that says where its last entry is: a filter of one device
    among thousands is found by its few records, whatever the others have written since.
    ``None`` when there are too many to look at.
    """
    keys = [wanted.start for wanted in ranges if is_one_key(wanted)]
    looked_at = 0
    for wanted in ranges:
        if is_one_key(wanted):
            continue
        if not wanted.start:
            keys.append(b"")  # messages to the table's root topic leave no grave
        for walk in (snapshot.scan_stored, snapshot.scan_graves):
            for key, stored in walk(slot, wanted.start, wanted.stop):
                looked_at += 1
                if last_seq_of(stored) > after:
                    keys.append(key)
                if looked_at > MAX_LOOKED_AT or len(keys) > MAX_TOUCHED:
                    return None
    return sorted(set(keys))


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
