"""An import: batches of the process that reads, written to a target, to the end or a stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from lyredb.errors import DiskFull, LyreError, Overloaded, StorageError
from lyredb.operations.transfer.pipe import Pipe, reading
from lyredb.operations.transfer.spec import BATCH_ROWS, BadRow, Batch, Ended, ImportSpec, Place
from lyredb.operations.transfer.state import ImportState, decode_state, encode_state, state_name
from lyredb.operations.transfer.target import Part, Target
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Result

PATIENCE_S: Final = 60.0
"""For a target that takes nothing at present: a writer that is started again, a full queue."""
_PAUSE_S: Final = 0.2


@dataclass(slots=True)
class Imported:
    """What an import has done.

    Attributes:
        state: How far it is.
        resumed: Rows that an earlier run had read.
        problem: Why it ended before the end of the file, or empty.
        was_done: An earlier run had imported this file; nothing was done.
        stopped: It was asked to stop.
        stopped_by: The bad row that ended it.
    """

    state: ImportState
    resumed: int = 0
    problem: str = ""
    was_done: bool = False
    stopped: bool = False
    stopped_by: BadRow | None = None


@dataclass(slots=True)
class Watch:
    """Whoever watches an import.

    Attributes:
        bad: Called with each row that was left out.
        progress: Called with rows read and bytes of the file read.
        is_stopped: Asked between transactions.
    """

    bad: Callable[[BadRow], None]
    progress: Callable[[int, int], None]
    is_stopped: Callable[[], bool]


@dataclass(slots=True)
class _Unit:
    """Batches that go into one transaction."""

    before: Place
    mutations: list[Mutation] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    after: Place = field(default_factory=Place)
    done_bytes: int = 0
    size_bytes: int = 0

    def take(self, batch: Batch) -> None:
        self.mutations += batch.mutations
        self.lines += batch.lines
        self.bad += batch.bad
        self.after = batch.after
        self.done_bytes = batch.done_bytes
        self.size_bytes += batch.size_bytes

    def is_full(self, target: Target) -> bool:
        rows = len(self.mutations) + len(self.bad)
        return rows >= target.rows_at_once or self.size_bytes >= target.bytes_at_once


def run_import(
    spec: ImportSpec, target: Target, watch: Watch, *, max_record_bytes: int, resume: bool
) -> Imported:
    """Import a file, from its beginning or from where an earlier run has come to.

    Args:
        spec: What.
        target: Where.
        watch: Is told.
        max_record_bytes: Largest record.
        resume: Go on with an earlier run of the same file; else begin anew.

    Raises:
        InvalidInput: The file cannot be read.
        StorageError, Overloaded: The target takes nothing more; what was written stays, and
            another run goes on from there.
        WriteConflict: Another run of the same import is writing at this moment.
    """
    name = state_name(spec)
    row = target.state(name) if name else None
    state = ImportState() if row is None or not resume else decode_state(row)
    if state.is_done:
        return Imported(state, was_done=True)
    spec = replace(spec, batch_rows=min(BATCH_ROWS, target.rows_at_once))
    run = _Run(name, target, watch, state, stops_at_bad=spec.stops_at_bad)
    with reading(spec, state.place, max_record_bytes) as pipe:
        ended = run.take_all(pipe)
    if ended is not None and not ended.problem and run.stopped_by is None and not spec.limit:
        run.finish()
    return Imported(
        run.state,
        state.place.rows,
        ended.problem if ended else "",
        stopped=ended is None and run.stopped_by is None,
        stopped_by=run.stopped_by,
    )


class _Run:
    """One run of an import."""

    def __init__(
        self, name: bytes, target: Target, watch: Watch, state: ImportState, *, stops_at_bad: bool
    ) -> None:
        self._name = name
        self._target = target
        self._watch = watch
        self._stops_at_bad = stops_at_bad
        self.state = state
        self._skip = state.skip
        self.stopped_by: BadRow | None = None

    def take_all(self, pipe: Pipe) -> Ended | None:
        """Write what comes; return how it ended, ``None`` when somebody stopped it."""
        unit = _Unit(self.state.place)
        while True:
            message = pipe.receive(self._watch.is_stopped)
            if isinstance(message, Batch):
                unit.take(message)
                if not unit.is_full(self._target) and pipe.has_more():
                    continue
            self._write(unit)
            if self.stopped_by is not None or message is None or self._watch.is_stopped():
                return None
            if isinstance(message, Ended):
                if message.bad is not None:
                    self._stop_at(message.bad)
                return message
            unit = _Unit(self.state.place)

    def finish(self) -> None:
        """Note that the file was read to its end."""
        self.state = replace(self.state, is_done=True)
        self._note(self.state)

    def _write(self, unit: _Unit) -> None:
        if unit.after.rows <= unit.before.rows:
            return
        skipped = min(self._skip, len(unit.mutations))
        del unit.mutations[:skipped], unit.lines[:skipped]
        self._skip -= skipped
        for row in unit.bad:
            self._watch.bad(row)
        bad = self.state.bad + len(unit.bad)
        written = self.state.written + len(unit.mutations)
        after = ImportState(unit.after, 0, written, bad)
        (result,) = self._patiently([Part(unit.mutations, self._name, _row_of(after))])
        if isinstance(result, LyreError):
            after = self._one_by_one(unit, skipped, after)
        self.state = after
        self._watch.progress(after.place.rows, unit.done_bytes)

    def _stop_at(self, row: BadRow) -> None:
        self._watch.bad(row)
        self.stopped_by = row

    def _one_by_one(self, unit: _Unit, skipped: int, wanted: ImportState) -> ImportState:
        """Write each row alone: one of them makes the transaction impossible."""
        start = replace(self.state, skip=skipped)
        states = [
            replace(start, skip=start.skip + number, written=start.written + number)
            for number in range(1, len(unit.mutations) + 1)
        ]
        parts = [
            Part([mutation], self._name, _row_of(state))
            for mutation, state in zip(unit.mutations, states, strict=True)
        ]
        if self._stops_at_bad:
            return self._up_to_refused(parts, [start, *states], unit, wanted)
        refused = 0
        for result, line in zip(self._patiently(parts), unit.lines, strict=True):
            if isinstance(result, LyreError):
                refused += 1
                self._watch.bad(BadRow(line, str(result)))
        after = replace(wanted, written=wanted.written - refused, bad=wanted.bad + refused)
        self._note(after)
        return after

    def _up_to_refused(
        self, parts: Sequence[Part], states: Sequence[ImportState], unit: _Unit, wanted: ImportState
    ) -> ImportState:
        """Write the rows before the one that is refused; another run begins with that one."""
        for part, state, line in zip(parts, states, unit.lines, strict=False):
            (result,) = self._patiently([part])
            if isinstance(result, LyreError):
                self._stop_at(BadRow(line, str(result)))
                return state
        return wanted

    def _note(self, state: ImportState) -> None:
        if self._name:
            self._patiently([Part((), self._name, _row_of(state))])

    def _patiently(self, parts: Sequence[Part]) -> list[Result]:
        """Write, and wait a while when too much is waiting there."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                results = self._target.write(parts)
            except Overloaded:
                if time.monotonic() > deadline or self._watch.is_stopped():
                    raise
                time.sleep(_PAUSE_S)
                continue
            for result in results:
                if isinstance(result, (StorageError, DiskFull)):
                    raise result
            return results


def _row_of(state: ImportState) -> bytes:
    return encode_state(replace(state, at_ms=time.time_ns() // 1_000_000))
