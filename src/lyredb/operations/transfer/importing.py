"""An import: batches of the process that reads, written to a target, to the end or a stop."""

from __future__ import annotations

import multiprocessing
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Final

import msgspec
from msgspec.structs import replace

from lyredb.errors import DiskFull, LyreError, Overloaded, StorageError
from lyredb.operations.transfer.reader import read_into
from lyredb.operations.transfer.spec import BadRow, Batch, Ended, ImportSpec, Place
from lyredb.operations.transfer.state import ImportState, decode_state, encode_state, state_name
from lyredb.operations.transfer.target import Part, Target
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Result

PATIENCE_S: Final = 60.0
"""For a target that takes nothing at present: a writer that is started again, a full queue."""
_PAUSE_S: Final = 0.2
_LOOK_S: Final = 0.005
LINGER_S: Final = 1.0
"""How long a transaction waits for more rows: a commit costs as much as thousands of them, and
who types into a pipe sees them soon."""
_END_S: Final = 10.0

_batches: Final = msgspec.msgpack.Decoder(Batch)
_ends: Final = msgspec.msgpack.Decoder(Ended)


@dataclass(slots=True)
class Imported:
    """What an import has done.

    Attributes:
        state: How far it is.
        resumed: Rows that an earlier run had read.
        problem: Why it ended before the end of the file, or empty.
        was_done: An earlier run had imported this file; nothing was done.
        stopped: It was asked to stop.
    """

    state: ImportState
    resumed: int = 0
    problem: str = ""
    was_done: bool = False
    stopped: bool = False


@dataclass(slots=True)
class Watch:
    """Whoever watches an import.

    Attributes:
        bad: Called with each row that was left out.
        progress: Called with rows read and bytes of the file read.
        is_stopped: Asked between transactions.
        stops_at_bad: The first bad row ends the import.
    """

    bad: Callable[[BadRow], None]
    progress: Callable[[int, int], None]
    is_stopped: Callable[[], bool]
    stops_at_bad: bool = False


@dataclass(slots=True)
class _Unit:
    """Batches that go into one transaction."""

    before: Place
    mutations: list[Mutation] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    after: Place = field(default_factory=Place)
    done_bytes: int = 0

    def take(self, batch: Batch) -> None:
        self.mutations += batch.mutations
        self.lines += batch.lines
        self.bad += batch.bad
        self.after = batch.after
        self.done_bytes = batch.done_bytes


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
    """
    name = state_name(spec)
    row = target.state(name) if name and resume else None
    state = ImportState() if row is None else decode_state(row)
    if state.is_done:
        return Imported(state, was_done=True)
    run = _Run(name, target, watch, state)
    with _reading(spec, state.place, max_record_bytes, target.rows_at_once) as pipe:
        problem = run.take_all(pipe)
    stopped = run.is_stopped
    if not problem and not stopped:
        run.finish()
    return Imported(run.state, state.place.rows, problem, stopped=stopped)


class _Run:
    """One run of an import."""

    def __init__(self, name: bytes, target: Target, watch: Watch, state: ImportState) -> None:
        self._name = name
        self._target = target
        self._watch = watch
        self.state = state
        self._skip = state.skip
        self.is_stopped = False

    def take_all(self, pipe: _Pipe) -> str:
        """Write what comes until it ends; return why it ended early, or an empty text."""
        unit = _Unit(self.state.place)
        while True:
            message = pipe.receive()
            if message is None:
                return "the process that reads the file has ended"
            if isinstance(message, Ended):
                self._write(unit)
                return message.problem
            unit.take(message)
            if len(unit.mutations) >= self._target.rows_at_once or not pipe.has_more():
                self._write(unit)
                unit = _Unit(self.state.place)
            if self.is_stopped or self._watch.is_stopped():
                self.is_stopped = True
                return ""

    def finish(self) -> None:
        """Note that the file was read to its end."""
        self.state = replace(self.state, is_done=True)
        if self._name:
            self._patiently([Part((), self._name, encode_state(self.state))])

    def _write(self, unit: _Unit) -> None:
        if unit.after.rows <= unit.before.rows:
            return
        skipped = min(self._skip, len(unit.mutations))
        del unit.mutations[:skipped], unit.lines[:skipped]
        self._skip -= skipped
        if unit.bad and self._watch.stops_at_bad:
            self._stop_at(unit)
            return
        for row in unit.bad:
            self._watch.bad(row)
        bad = self.state.bad + len(unit.bad)
        written = self.state.written + len(unit.mutations)
        after = ImportState(unit.after, 0, written, bad)
        (result,) = self._patiently([Part(unit.mutations, self._name, encode_state(after))])
        if isinstance(result, LyreError):
            after = self._one_by_one(unit, skipped, after)
        self.state = after
        self._watch.progress(after.place.rows, unit.done_bytes)

    def _stop_at(self, unit: _Unit) -> None:
        """Leave the rows of this transaction for another run: one of them is bad."""
        self._watch.bad(unit.bad[0])
        self.is_stopped = True

    def _one_by_one(self, unit: _Unit, skipped: int, wanted: ImportState) -> ImportState:
        """Write each row alone: one of them makes the transaction impossible."""
        start = replace(self.state, skip=skipped)
        parts = [
            Part(
                [mutation],
                self._name,
                encode_state(
                    replace(start, skip=start.skip + number, written=start.written + number)
                ),
            )
            for number, mutation in enumerate(unit.mutations, 1)
        ]
        refused = 0
        for result, line in zip(self._patiently(parts), unit.lines, strict=True):
            if isinstance(result, LyreError):
                refused += 1
                self._watch.bad(BadRow(line, str(result)))
        after = replace(wanted, written=wanted.written - refused, bad=wanted.bad + refused)
        if self._name:
            self._patiently([Part((), self._name, encode_state(after))])
        if refused and self._watch.stops_at_bad:
            self.is_stopped = True
        return after

    def _patiently(self, parts: Sequence[Part]) -> list[Result]:
        """Write, and wait a while when too much is waiting there."""
        if not any(part.mutations or part.name for part in parts):
            return []
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


class _Pipe:
    """What the process that reads sends, taken in ahead so that it reads on during a commit.

    Args:
        connection: Our end.
        ahead: So many batches at most.
    """

    def __init__(self, connection: Connection, ahead: int) -> None:
        self._connection = connection
        self._waiting: queue.Queue[bytes] = queue.Queue(ahead)
        self._is_closed = False
        self._thread = threading.Thread(target=self._take_in, name="lyredb import", daemon=True)
        self._thread.start()

    def _take_in(self) -> None:
        message = b"B"
        while message[:1] == b"B":
            try:
                message = self._connection.recv_bytes()
            except (EOFError, OSError):
                message = b""
            while not self._is_closed:
                try:
                    self._waiting.put(message, timeout=_PAUSE_S)
                    break
                except queue.Full:
                    continue
            if self._is_closed:
                return

    def has_more(self) -> bool:
        """Tell whether something comes soon, so that a transaction may wait for it."""
        deadline = time.monotonic() + LINGER_S
        while self._waiting.empty() and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return not self._waiting.empty()

    def receive(self) -> Batch | Ended | None:
        """Return what comes next, ``None`` when the process has ended without a word."""
        message = self._waiting.get()
        body = memoryview(message)[1:]
        if message[:1] == b"B":
            return _batches.decode(body)
        return _ends.decode(body) if message else None

    def close(self, process: BaseProcess) -> None:
        """End the process, whatever it is doing."""
        self._is_closed = True
        process.terminate()
        process.join(_END_S)
        self._thread.join(_END_S)
        self._connection.close()


@contextmanager
def _reading(
    spec: ImportSpec, start: Place, max_record_bytes: int, rows_at_once: int
) -> Iterator[_Pipe]:
    """Run the process that reads; gives what it sends."""
    context = multiprocessing.get_context("spawn")
    ours, its = context.Pipe(duplex=False)
    arguments = (msgspec.msgpack.encode(spec), msgspec.msgpack.encode(start), max_record_bytes, its)
    process = context.Process(target=read_into, args=arguments, name="lyredb import", daemon=True)
    process.start()
    its.close()
    pipe = _Pipe(ours, 2 + 2 * rows_at_once // spec.batch_rows)
    try:
        yield pipe
    finally:
        pipe.close(process)
