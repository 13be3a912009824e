"""An answer, handed out value by value, with places where others may have a turn.

As long as nothing is handed out, a snapshot is held, and values are gathered: an answer
that is complete by then is of that snapshot. One that is larger than `HELD_BYTES`, or takes
longer than `view.HOLD_S`, goes on as of the snapshot's position, a part at a time; no
snapshot is open while a value is handed out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from typing import Final, Literal, TypeAlias

from lyredb.formats import PAUSE, Pause
from lyredb.tables.query.access import Batches
from lyredb.tables.query.view import FIRST_BATCH, LARGEST_BATCH, Row, Shape, View

Mode = Literal["snapshot", "as of"]
Parts: TypeAlias = Generator[list[object] | Pause, None, None]
HELD_BYTES: Final = 256 * 1024
"""Of records whose values wait to be handed out: a few ms of encoding, a MB in memory."""
TURN_S: Final = 0.001
"""After so long others have a turn. A batch is made smaller when it takes as long."""
_CHECKED_VALUES: Final = 16
"""Values after which the clock is looked at while they are handed out."""


class Results:
    """An iterator of values and `PAUSE`.

    Args:
        view: What is read; closed at the end.
        rows: Batches of stored rows, in order.
        shape: Makes values of rows.
        offset: Rows that are skipped.
        limit: Values at most.
        prepare: Steps before the first row.

    Attributes:
        gate: Called before each value; what it raises ends the answer.
        readable: The attributes of the table that the reader may see, ``None`` for all.
    """

    def __init__(
        self,
        view: View,
        rows: Batches,
        shape: Shape,
        *,
        offset: int = 0,
        limit: int | None = None,
        prepare: Iterator[None] | None = None,
    ) -> None:
        self._view = view
        self._rows = rows
        self._shape = shape
        self._skip = offset
        self._left = limit
        self._prepare = prepare
        self._turn = time.perf_counter()
        self._mode: Mode = "snapshot"
        self._parts = self._run()
        self._values: Iterator[object] = iter(())
        self.gate: Callable[[], None] | None = None
        self.readable: frozenset[str] | None = None

    def __iter__(self) -> Results:
        return self

    def __next__(self) -> object:
        for value in self._values:
            if self.gate is not None:
                self.gate()
            return value
        part = next(self._parts)
        if isinstance(part, Pause):
            return part
        self._values = iter(part)
        return next(self)

    def lists(self) -> Iterator[list[object] | Pause]:
        """Yield the values that are left, several at a time, and `PAUSE`."""
        if left := list(self._values):
            yield left
        for part in self._parts:
            if self.gate is not None and part is not PAUSE:
                self.gate()
            yield part

    def close(self) -> None:
        """End it before its end. A second call does nothing."""
        self._parts.close()
        self._values = iter(())
        self._view.close()

    @property
    def mode(self) -> Mode:
        """Whether all was read at once (``snapshot``), or in parts (``as of`` one position).

        Final when the first value has come, or the end.
        """
        return self._mode

    @property
    def position(self) -> int:
        """The position that all of it is of."""
        return self._view.position

    @property
    def records_read(self) -> int:
        """How many records have been read so far, for the answer or to find it."""
        return self._view.meter.read

    def _run(self) -> Parts:
        try:
            if self._left != 0:
                for _ in self._prepare or ():
                    yield from self._pause_if_due()
                yield from self._read()
        finally:
            self._view.close()

    def _read(self) -> Parts:
        view = self._view
        waiting: list[object] = []
        size = 0
        before = time.perf_counter()
        for rows in self._rows:
            if rows := self._window(rows):
                waiting += self._shape(rows)
                size += sum([len(stored) for _, stored in rows])
            now = time.perf_counter()
            view.meter.spend(now - before)
            self._adapt(now - before)
            if self._left == 0:
                break
            if waiting and (size >= HELD_BYTES or view.has_moved or view.is_old):
                self._leave()
                yield from self._hand_out(waiting)
                waiting, size = [], 0
            yield from self._pause_if_due()
            before = time.perf_counter()
        view.close()
        yield from self._hand_out(waiting)

    def _window(self, rows: list[Row]) -> list[Row]:
        if self._skip:
            skipped = min(self._skip, len(rows))
            self._skip -= skipped
            rows = rows[skipped:]
        if self._left is not None:
            rows = rows[: self._left]
            self._left -= len(rows)
        return rows

    def _adapt(self, spent_s: float) -> None:
        view = self._view
        if spent_s > TURN_S:
            view.batch = max(1, view.batch // 2)
        elif spent_s < TURN_S / 3:
            view.batch = min(LARGEST_BATCH, max(FIRST_BATCH, view.batch * 2))

    def _leave(self) -> None:
        self._view.let_go()
        self._mode = "as of"

    def _pause_if_due(self) -> Parts:
        if time.perf_counter() - self._turn < TURN_S:
            return
        if self._view.has_moved or self._view.is_old:
            self._leave()
        yield PAUSE
        self._turn = time.perf_counter()

    def _hand_out(self, values: list[object]) -> Parts:
        for at in range(0, len(values), _CHECKED_VALUES):
            if time.perf_counter() - self._turn >= TURN_S:
                yield PAUSE
                self._turn = time.perf_counter()
            yield values[at : at + _CHECKED_VALUES]
