"""What the log got after a position, in steps, found through its index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from lyredb.delivery.finding import Finder, concerns
from lyredb.delivery.position import format_position
from lyredb.errors import PositionLost
from lyredb.storage.entry import Entry
from lyredb.storage.frontier import KeyRange, Row
from lyredb.storage.layout import TOPIC_SLOT
from lyredb.storage.mutation import Kind

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

STEP_ENTRIES: Final = 200
"""One step's log entries, about 1 ms of work: what is live waits for no more than that."""


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
    """The entries after a position that lie in ranges of keys; implements `Source`.

    Args:
        engine: What to read.
        ranges: Where to look.
        after: The position.
        finder: Of the entries in these ranges; it may find fewer of other records than one
            that is made for the ranges alone.
    """

    def __init__(
        self,
        engine: Engine,
        ranges: Sequence[KeyRange],
        after: int,
        finder: Finder | None = None,
    ) -> None:
        self._engine = engine
        self._log_id = engine.log_id.hex()
        self._ranges = ranges
        self._begin = after
        self._finder = finder or Finder(ranges)
        self.position = after
        self.done = False

    def covers(self, slot: int, key: bytes) -> bool:
        """As of `Source`: of no record before the end, since one may change again."""
        return self.done

    def step(self, max_bytes: int) -> list[tuple[Entry | Row, str]]:
        """As of `Source`; looks at no more than `STEP_ENTRIES`, at none while it searches.

        Raises:
            PositionLost: The log was trimmed below the place where this stands.
        """
        items: list[tuple[Entry | Row, str]] = []
        with self._engine.snapshot() as snapshot:
            if self.position < snapshot.floor - 1:
                raise PositionLost("the log no longer holds what followed this position")
            if not self._finder.step(snapshot, self._begin):
                return items
            entries = self._finder.entries(snapshot, self.position, snapshot.position)
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


def is_void(entry: Entry, now_ms: int) -> bool:
    """Tell whether it is a message past its expiry, not sent any more [MQTT-3.3.2-5].

    Retained ones of open topics are; what a table's record was stays a part of its history.
    """
    if not 0 < entry.expires_ms <= now_ms:
        return False
    return entry.kind is Kind.MESSAGE or entry.slot == TOPIC_SLOT
