"""Catching up: what a subscription is told before it is live, in bounded steps.

`CatchUp.current` gives the records that a filter matches, and what happens to those
while it reads (the moving frontier of `lyredb.storage.frontier`). `CatchUp.resume`
gives what the log got after a position, found through its index, never by reading all
entries; `CatchUp.replay` what it got after a time, or its last entries. All end at a
position from which the tail goes on, without gap or double; a subscriber that stops in
between resumes at the token of the last message it got.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from lyredb.delivery.filters import INTERNAL, matches, parse_filter
from lyredb.delivery.finding import Finder, IsWanted, Searches
from lyredb.delivery.log_source import LogSource, Source, is_void
from lyredb.delivery.message import Message, RecordTable
from lyredb.delivery.position import Position, format_position
from lyredb.delivery.replay import ReplaySource, ReplayStart
from lyredb.errors import PositionLost
from lyredb.storage.entry import Entry
from lyredb.storage.frontier import Frontier, FrontierScan, KeyRange, Row
from lyredb.storage.keys import is_short_form
from lyredb.storage.record import decode_header

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

WILDCARDS: Final = frozenset("+#")
STEP_BYTES: Final = 64 * 1024
"""One step's records: about what a socket takes at once."""


class Catalogue(Protocol):
    """Tables and topics of records; `lyredb.resources.registry.Registry` is one."""

    @property
    def tables(self) -> Mapping[int, RecordTable]:
        """All tables by slot."""

    def of(self, slot: int, key: bytes) -> tuple[bytes, ...]:
        """See `lyredb.delivery.admission.Topics`."""


class CatchUp:
    """The messages of one filter from a place on; see the module.

    Attributes:
        done: True when everything up to `position` was told.
        position: The log position that has been reached. The tail has to stand there
            when the subscriber joins the hub.
    """

    def __init__(
        self, engine: Engine, catalogue: Catalogue, topic_filter: str, source: Source
    ) -> None:
        self._engine = engine
        self._catalogue = catalogue
        self._levels = parse_filter(topic_filter, allow_internal=topic_filter[:1] == INTERNAL)
        self._source = source

    @classmethod
    def current(
        cls,
        engine: Engine,
        catalogue: Catalogue,
        topic_filter: str,
        ranges: Sequence[KeyRange],
    ) -> CatchUp:
        """Start with current state.

        Args:
            engine: What to read.
            catalogue: Names what is read.
            topic_filter: Only what it matches is told.
            ranges: Where that lies; may hold more.
        """
        return cls(engine, catalogue, topic_filter, _Scan(engine, ranges, None))

    @classmethod
    def resume(
        cls,
        engine: Engine,
        catalogue: Catalogue,
        topic_filter: str,
        ranges: Sequence[KeyRange],
        after: Position,
        searches: Searches | None = None,
    ) -> CatchUp:
        """Go on after the token of an event, of a ready mark, or inside a scan.

        Args:
            engine: What to read.
            catalogue: Names what is read.
            topic_filter: Only what it matches is told.
            ranges: Where that lies; may hold more.
            after: The place.
            searches: Of the worker, which equal filters share.

        Raises:
            PositionLost: The token is of another log, of a part of the log that is
                gone, or of a position that the log has not reached.
        """
        if after.log_id != engine.log_id.hex():
            raise PositionLost("the position is of another log")
        if not engine.floor - 1 <= after.seq <= engine.position:
            raise PositionLost("the log does not hold what followed this position")
        if after.slot is None or after.key is None:
            part = _part_of(topic_filter, catalogue)
            finder = Finder(ranges, part, filter=topic_filter, searches=searches)
            source = LogSource(engine, ranges, after.seq, finder)
            return cls(engine, catalogue, topic_filter, source)
        place = Frontier(after.slot, after.key, after.seq)
        return cls(engine, catalogue, topic_filter, _Scan(engine, ranges, place))

    @classmethod
    def replay(
        cls,
        engine: Engine,
        catalogue: Catalogue,
        topic_filter: str,
        ranges: Sequence[KeyRange],
        start: ReplayStart,
    ) -> CatchUp:
        """Go on after a time, or with the last entries that the filter matches.

        Raises:
            PositionLost: The log does not reach back to the time. A `step` raises it when
                the log has none of the last entries any more.
        """
        levels = parse_filter(topic_filter, allow_internal=topic_filter[:1] == INTERNAL)

        def is_wanted(entry: Entry) -> bool:
            topics = catalogue.of(entry.slot, entry.full_id or entry.key)
            return entry.slot in catalogue.tables and any(
                matches(levels, topic) for topic in topics
            )

        return cls(engine, catalogue, topic_filter, ReplaySource(engine, ranges, start, is_wanted))

    @property
    def done(self) -> bool:
        """See the class."""
        return self._source.done

    @property
    def position(self) -> int:
        """See the class."""
        return self._source.position

    @property
    def is_scan(self) -> bool:
        """It gives current state, not only a part of the log."""
        return isinstance(self._source, _Scan)

    def covers(self, slot: int, key: bytes) -> bool:
        """Tell whether a record, as of `position`, was among what the steps gave."""
        return self._source.covers(slot, key)

    def step(self, max_bytes: int = STEP_BYTES) -> list[Message]:
        """Return the next messages in order; may be none before `done`.

        Args:
            max_bytes: Of records or entries, about; at least one is read.

        Raises:
            PositionLost: The log was trimmed below the place where this stands.
            StorageError: It could not be read.
        """
        now_ms = self._engine.now_ms()
        return [
            message
            for item, token in self._source.step(max_bytes)
            for message in self._messages(item, token, now_ms)
        ]

    def _messages(self, item: Entry | Row, token: str, now_ms: int) -> Iterator[Message]:
        """The item as a message for each of its topics that the filter matches."""
        table = self._catalogue.tables.get(item.slot)
        if table is None:
            return
        if isinstance(item, Row):
            full_key = decode_header(item.stored).full_id or item.key
            for topic in self._topics(item.slot, full_key):
                yield Message.of_record(table, item.key, item.stored, topic, token)
        elif not is_void(item, now_ms):
            for topic in self._topics(item.slot, item.full_id or item.key):
                yield Message.of_entry(item, table, topic, "", position=token)

    def _topics(self, slot: int, full_key: bytes) -> Iterator[bytes]:
        return (
            topic for topic in self._catalogue.of(slot, full_key) if matches(self._levels, topic)
        )


def _part_of(topic_filter: str, catalogue: Catalogue) -> IsWanted | None:
    """Tell which records of a filter's ranges it matches; ``None`` when these are all.

    All are matched where nothing follows the first wildcard.
    """
    if WILDCARDS.isdisjoint(topic_filter.removesuffix("#")):
        return None
    levels = parse_filter(topic_filter, allow_internal=topic_filter[:1] == INTERNAL)

    def is_wanted(slot: int, key: bytes, stored: bytes) -> bool:
        full_key = decode_header(stored).full_id if is_short_form(key) else key
        return any(matches(levels, topic) for topic in catalogue.of(slot, full_key))

    return is_wanted


class _Scan:
    """Current state by the moving frontier; implements `Source`."""

    def __init__(self, engine: Engine, ranges: Sequence[KeyRange], resume: Frontier | None) -> None:
        self._log_id = engine.log_id.hex()
        self._scan = FrontierScan(engine, ranges, resume)
        # Nothing is given up to this key, so a token with it begins the scan anew.
        self._place = resume or Frontier(0, b"", 0)

    @property
    def done(self) -> bool:
        return self._scan.done

    @property
    def position(self) -> int:
        return self._scan.position

    def covers(self, slot: int, key: bytes) -> bool:
        return self._scan.done or (slot, key) <= (self._place.slot, self._place.key)

    def step(self, max_bytes: int) -> list[tuple[Entry | Row, str]]:
        before = None if self._scan.done else self._place
        found = self._scan.step(max_bytes)
        if found.frontier.slot >= 0:
            self._place = found.frontier
        position = found.frontier.position
        items: list[tuple[Entry | Row, str]] = []
        for item in found.items:
            if isinstance(item, Row):
                token = format_position(self._log_id, position, item.slot, item.key)
            elif before is None:
                # The scan was over, so this was told whatever its key.
                token = format_position(self._log_id, item.seq)
            else:
                token = format_position(self._log_id, item.seq, before.slot, before.key)
            items.append((item, token))
        return items
