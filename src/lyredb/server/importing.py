"""Where an import goes: a running server, or the data directory opened here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from lyredb import errors
from lyredb.applications.application import load_application
from lyredb.errors import InvalidInput, LyreError
from lyredb.operations.requests import (
    DescribeTable,
    GetImportState,
    RowsWritten,
    StateRow,
    TableDescription,
    WriteRows,
)
from lyredb.operations.transfer.importing import PATIENCE_S
from lyredb.operations.transfer.intake import describe_table
from lyredb.operations.transfer.target import LocalTarget, Part, Target
from lyredb.server.administer import is_served_soon
from lyredb.server.control import MAX_LINE_BYTES
from lyredb.server.control_client import ServerGone, ask_server
from lyredb.server.data_place import DataPlace
from lyredb.storage.engine import Engine
from lyredb.storage.format import has_database
from lyredb.storage.mutation import Applied
from lyredb.storage.sequencer import Result
from lyredb.storage.writer import Writer
from lyredb.tables.catalogue import Catalogue

LOCAL_ROWS: Final = 20_000
"""Rows of a transaction when nobody waits: neighbours in an index share its pages, so what a
random index costs on the disk falls with the size of a group."""
LOCAL_BYTES: Final = 16_000_000
SERVED_ROWS: Final = 500
"""Beside clients: 10 ms of a writer that they share."""
SERVED_BYTES: Final = 1_000_000
_LOCAL_GROUP_MS: Final = 60_000.0
_PACKED_BYTES: Final = MAX_LINE_BYTES * 3 // 4 - 65_536
"""A line of JSON has its bytes as base64, four for three; the rest is room for rows."""

_Packed: TypeAlias = tuple[bytes, bytes, bytes]
"""The mutations of a `Part`, its name and its row."""


@contextmanager
def open_target(
    place: DataPlace, folder: Path, table: str
) -> Iterator[tuple[TableDescription, Target]]:
    """Give a table and the way to write it.

    A data directory that does not exist is made, with the tables of the application.

    Args:
        place: The data directory.
        folder: Of the application.
        table: ``<database>.<table>``.

    Raises:
        UnknownTopic: There is no such table.
        LyreError: The directory cannot be opened.
    """
    if has_database(place.path) and is_served_soon(place.path):
        described = ask_server(place.path, DescribeTable(table), TableDescription)
        yield described, ServedTarget(place.path)
        return
    settings = replace(place.storage, group_mutations=LOCAL_ROWS, group_ms=_LOCAL_GROUP_MS)
    is_new = not has_database(place.path)
    schema = load_application(folder).schema if is_new else None
    engine = Engine.open(place.path, settings=settings)
    try:
        writer = Writer(engine, call_soon=lambda callback: None)
        if schema is not None:
            Catalogue.open(engine, writer, schema)
        described = describe_table(engine, table)
        target = LocalTarget(
            engine,
            writer,
            rows_at_once=min(LOCAL_ROWS, place.storage.max_transaction_mutations // 2),
            bytes_at_once=min(LOCAL_BYTES, place.storage.max_transaction_bytes // 4),
        )
        yield described, target
        writer.close()
    finally:
        engine.close()


class ServedTarget:
    """A running server, asked through its control socket.

    Args:
        data_dir: Of the server.
    """

    rows_at_once = SERVED_ROWS
    bytes_at_once = SERVED_BYTES

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._row = b""

    def state(self, name: bytes) -> bytes | None:
        """Return the row that the server has."""
        row = ask_server(self._data_dir, GetImportState(name), StateRow).row
        self._row = row or b""
        return row

    def write(self, parts: Sequence[Part]) -> list[Result]:
        """Have the server commit; see `Target`."""
        results: list[Result] = []
        for chunk in _chunks(parts):
            results += self._written(chunk)
        return results

    def _written(self, chunk: list[_Packed]) -> list[Result]:
        """Have one request done, also by a writer that is started again meanwhile."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                request = WriteRows(chunk, self._row)
                written = ask_server(self._data_dir, request, RowsWritten)
            except ServerGone as gone:
                if self._is_done(chunk, gone, deadline):
                    return [Applied(0, ())]
                continue
            results: list[Result] = []
            for (_, name, row), (error, sentence) in zip(chunk, written.results, strict=True):
                results.append(_result(error, sentence))
                if name and not error:
                    self._row = row
            return results

    def _is_done(self, chunk: list[_Packed], gone: ServerGone, deadline: float) -> bool:
        """Ask the next writer whether the request whose answer was lost is committed.

        Raises:
            ServerGone: There is no next one in time, or it cannot tell: an import without a
                row, or several transactions, of which some may have been refused.
        """
        row = self._row_after(chunk[0][1], gone, deadline)
        if row == self._row:
            return False
        if len(chunk) > 1 or row != chunk[0][2]:
            raise gone
        self._row = row
        return True

    def _row_after(self, name: bytes, gone: ServerGone, deadline: float) -> bytes:
        while name and is_served_soon(self._data_dir) and time.monotonic() < deadline:
            try:
                return ask_server(self._data_dir, GetImportState(name), StateRow).row or b""
            except ServerGone:
                continue  # that one went away, too
        raise gone


def _chunks(parts: Sequence[Part]) -> Iterator[list[_Packed]]:
    """Cut parts into what one line may hold."""
    chunk: list[_Packed] = []
    size = 0
    for part in parts:
        packed = msgspec.msgpack.encode(list(part.mutations))
        if len(packed) > _PACKED_BYTES:
            raise InvalidInput(f"a record has more than the {_PACKED_BYTES} bytes of a request")
        if chunk and size + len(packed) > _PACKED_BYTES:
            yield chunk
            chunk, size = [], 0
        chunk.append((packed, part.name, part.row))
        size += len(packed) + len(part.row)
    if chunk:
        yield chunk


def _result(name: str, sentence: str) -> Result:
    if not name:
        return Applied(0, ())
    found = getattr(errors, name, LyreError)
    error: LyreError = found(sentence) if issubclass(found, LyreError) else LyreError(sentence)
    return error
