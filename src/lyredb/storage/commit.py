"""Commits groups: staging, one LMDB transaction, one fsync, and what if it fails.

The writer decides which requests make a group and tells their owners the results.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from lyredb.errors import (
    DiskFull,
    InvalidRecord,
    LyreError,
    SessionTakenOver,
    StorageError,
)
from lyredb.storage import directory as directories
from lyredb.storage import meta, retention
from lyredb.storage.apply import Rows, apply_group, state_loader
from lyredb.storage.environment import EngineError
from lyredb.storage.indexing import IndexExtractor
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.overlay import Address, Overlay
from lyredb.storage.sequencer import Result
from lyredb.storage.session_row import CONDITION
from lyredb.storage.snapshot import pages_bytes
from lyredb.storage.staging import Staging

if TYPE_CHECKING:
    from lyredb.storage.engine import Engine

_logger: Final = logging.getLogger(__name__)


class Origin(Protocol):
    """Another process that waits for replies; it may need them after our death."""

    def row(self, replies: Sequence[tuple[int, Result]]) -> tuple[bytes, bytes]:
        """Return the row of ``meta`` that tells it these too, to go into their commit."""

    def keep(self) -> None:
        """Take note that the commit with the last row is on disk; it is not told yet."""

    def reply(self, number: int, result: Result) -> None:
        """Tell it what came of a request, by the number that the request has there."""


class Request(msgspec.Struct, frozen=True, gc=False):
    """A transaction that waits for its commit, and the rows of ``sess`` beside it.

    Attributes:
        transaction: What to do.
        on_reply: Gets the result; not of what another process waits for.
        session_rows: Rows of ``sess``.
        mutations: What counts for the limits; see `limits.measure`.
        size_bytes: Likewise.
        bulk: Which lane it waits in.
        origin: The process that it came from, if not this one; gets the result.
        number: Its number there.
        refusal: It is not done, for this reason; it only waits for its turn to be told.
    """

    transaction: Sequence[Mutation]
    on_reply: Callable[[Result], None] | None
    session_rows: Rows
    mutations: int
    size_bytes: int
    bulk: bool = False
    origin: Origin | None = None
    number: int = 0
    refusal: LyreError | None = None


class Committer:
    """Commits groups of an engine.

    Args:
        engine: The engine, which nobody else writes.
        on_logged: Called after a commit with the first position and the addresses of
            the entries; feeds the index of the log.
    """

    def __init__(self, engine: Engine, on_logged: Callable[[int, Sequence[Address]], None]) -> None:
        self._engine = engine
        self._on_logged = on_logged
        self._extractors: dict[int, IndexExtractor] = {}
        self._extracted: object = None
        self.open_bytes = self._measure()

    def commit(self, requests: Sequence[Request]) -> list[Result]:
        """Commit the first requests together; return one result for each of those.

        What a request asks is on disk when its result is `Applied`. A request that is
        rejected is rejected alone. All that were taken fail when the disk or map is
        full, or when the engine fails; but deletions may use the space below the
        minimum, since that is how somebody makes room.
        """
        tidying = all(map(_is_deletion, requests))
        try:
            self._make_way(tidying=tidying)
            return self._commit(requests, tidying=tidying)
        except DiskFull as error:
            return [
                self.commit([request])[0]
                if not tidying and _is_deletion(request)
                else DiskFull(*error.args)
                for request in requests
            ]
        except StorageError as error:
            return [type(error)(*error.args) for _ in requests]
        except Exception as error:
            if len(requests) == 1:
                return [_verdict(error)]
            _logger.warning("a group could not be written; trying its transactions one by one")
        return [self.commit([request])[0] for request in requests]

    def _make_way(self, *, tidying: bool) -> None:
        """Rotate if due; without space for it a deletion still goes into this segment."""
        try:
            self.rotate_if_due()
        except DiskFull:
            if not tidying:
                raise

    def _commit(self, requests: Sequence[Request], *, tidying: bool) -> list[Result]:
        engine = self._engine
        log = engine.handles.log[directories.ring_slot(engine.directory[-1])]
        with engine.write(below_minimum=tidying) as transaction:
            staging = Staging(
                Overlay(state_loader(transaction, engine.handles)),
                engine.layouts,
                engine.clock,
                position=engine.position,
                half=directories.half_of(engine.directory),
                now_ms=engine.now_ms(),
                max_record_bytes=engine.settings.max_record_bytes,
            )
            stored = partial(transaction.get, db=engine.handles.sess)
            results, session_rows = self._stage(staging, requests, stored)
            told = _by_origin(requests, results)
            if staging.log or session_rows:
                staging.meta_rows.update([origin.row(each) for origin, each in told.items()])
                form = meta.with_blobs(engine.form) if staging.has_blobs else engine.form
                if form != engine.form:
                    staging.meta_rows[meta.FORMAT] = meta.encode_format(form)
                apply_group(
                    transaction,
                    engine.handles,
                    staging,
                    log=log,
                    extractors=self._current_extractors(),
                    position_row=(meta.POSITION, engine.position_row(staging.position)),
                    session_rows=tuple(session_rows.items()),
                )
                open_bytes = pages_bytes(transaction, log)
        if staging.has_blobs:
            engine.form = meta.with_blobs(engine.form)
        if staging.log:
            self.open_bytes = open_bytes
            first = engine.position + 1
            engine.advance(staging.position)
            self._on_logged(first, staging.addresses)
        if staging.log or session_rows:
            for origin in told:
                origin.keep()
        return results

    def _stage(
        self,
        staging: Staging,
        requests: Sequence[Request],
        stored: Callable[[bytes], bytes | None],
    ) -> tuple[list[Result], dict[bytes, bytes | None]]:
        """Stage requests until the group's time is over; at least one.

        Args:
            staging: Of the group.
            requests: In their order.
            stored: Reads a row of ``sess`` as it was before the group.
        """
        deadline = time.monotonic() + self._engine.settings.group_ms / 1000
        results: list[Result] = []
        session_rows: dict[bytes, bytes | None] = {}
        for request in requests:
            if request.refusal is not None:
                results.append(request.refusal)
                continue
            rows = request.session_rows
            try:
                while rows and rows[0][0].startswith(CONDITION):
                    condition, *rows = rows
                    check_condition(condition, session_rows, stored)
                results.append(staging.stage(request.transaction))
                session_rows.update(rows)
            except EngineError:
                raise
            except LyreError as error:
                results.append(error)
            if time.monotonic() > deadline:
                break
        return results, session_rows

    def _current_extractors(self) -> dict[int, IndexExtractor]:
        layouts = self._engine.layouts
        if self._extracted is not layouts:
            self._extractors = {
                slot: IndexExtractor(layout) for slot, layout in layouts.items() if layout.indexes
            }
            self._extracted = layouts
        return self._extractors

    def rotate_if_due(self) -> None:
        """Seal the open segment when it has its size or its age."""
        now_ms = self._engine.now_ms()
        if retention.is_rotation_due(self._engine, self.open_bytes, now_ms):
            retention.rotate(self._engine, self.open_bytes, now_ms)
            self.open_bytes = self._measure()

    def _measure(self) -> int:
        with self._engine.snapshot() as snapshot:
            return snapshot.log_bytes(directories.ring_slot(snapshot.directory[-1]))


def _by_origin(
    requests: Sequence[Request], results: Sequence[Result]
) -> dict[Origin, list[tuple[int, Result]]]:
    """The results that other processes wait for, of the requests that were staged."""
    told: dict[Origin, list[tuple[int, Result]]] = {}
    before: Origin | None = None
    of_one: list[tuple[int, Result]] = []
    for request, result in zip(requests, results, strict=False):
        origin = request.origin
        if origin is None:
            continue
        if origin is not before:
            before, of_one = origin, told.setdefault(origin, [])
        of_one.append((request.number, result))
    return told


def check_condition(
    condition: tuple[bytes, bytes | None],
    fresh: Mapping[bytes, bytes | None],
    stored: Callable[[bytes], bytes | None],
) -> None:
    """Compare a condition with the row that it is about.

    Args:
        condition: Its name, and the value that the row has to have.
        fresh: Rows that the group puts or removes.
        stored: Reads a row as it was before the group.

    Raises:
        SessionTakenOver: The row says something else: somebody else has the session.
    """
    name, wanted = condition[0][len(CONDITION) :], condition[1]
    if (fresh[name] if name in fresh else stored(name)) != wanted:
        raise SessionTakenOver("another connection has this session now")


def _is_deletion(request: Request) -> bool:
    """Tell whether a transaction only deletes records, whatever it checks beside."""
    return bool(request.transaction) and all(
        mutation.kind is Kind.DELETE or mutation.kind is Kind.CHECK
        for mutation in request.transaction
    )


def _verdict(error: Exception) -> LyreError:
    """Return the error of a transaction that cannot be written even alone."""
    if isinstance(error, LyreError):
        return error
    _logger.error("a transaction could not be written", exc_info=error)
    return InvalidRecord("the transaction could not be written as it is")
