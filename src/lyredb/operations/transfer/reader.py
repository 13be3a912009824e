"""The process that reads: a file becomes batches of mutations.

It has a processor of its own, so that reading and checking go on while another process
commits. Batches go through a pipe, which holds little: who reads waits for who writes.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Final

import msgspec

from lyredb.errors import LyreError
from lyredb.operations.transfer.encoding import RecordEncoder
from lyredb.operations.transfer.files import DAMAGES, Source, open_source
from lyredb.operations.transfer.rows import rows
from lyredb.operations.transfer.spec import (
    BATCH_BYTES,
    BadRow,
    Batch,
    Ended,
    ImportSpec,
    Place,
    Row,
)
from lyredb.storage import meta
from lyredb.storage.mutation import Mutation
from lyredb.tables.evolution import decode_schema_row
from lyredb.tables.stored import StoredTable

_SHOWN: Final = 300

_encode = msgspec.msgpack.Encoder().encode


def read_into(
    spec: bytes,
    start: bytes,
    max_record_bytes: int,
    pipe: Connection,
    standard_input: Connection | None,
) -> None:
    """Read a file to its end; the main function of the process.

    It ends with the process that started it, also when that one is killed while a pipe has
    nothing to read.

    Args:
        spec: An `ImportSpec` as MessagePack.
        start: The `Place` of the first row, as MessagePack.
        max_record_bytes: Largest record.
        pipe: Takes `Batch`es and at last `Ended`, each as MessagePack with a byte before it:
            ``B`` or ``E``.
        standard_input: That of the process that started this one, whose own is empty.
    """
    threading.Thread(target=_end_with_parent, name="lyredb import", daemon=True).start()
    asked = msgspec.msgpack.decode(spec, type=ImportSpec)
    place = msgspec.msgpack.decode(start, type=Place)
    descriptor = None if standard_input is None else standard_input.fileno()
    try:
        pipe.send_bytes(b"E" + _encode(_send_all(asked, place, max_record_bytes, pipe, descriptor)))
    except BrokenPipeError:
        return  # whoever wanted it has gone
    pipe.close()


def _send_all(
    spec: ImportSpec, start: Place, max_record_bytes: int, pipe: Connection, descriptor: int | None
) -> Ended:
    try:
        for message in batches(spec, start, max_record_bytes, descriptor):
            if isinstance(message, Ended):
                return message
            pipe.send_bytes(b"B" + _encode(message))
    except BrokenPipeError:
        raise
    except LyreError as error:
        return Ended(str(error))
    except DAMAGES as error:
        return Ended(f"the file is damaged or cannot be read further: {error}")
    return Ended()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "multiprocessing has started this process"
    parent.join()
    os._exit(1)


def batches(
    spec: ImportSpec, start: Place, max_record_bytes: int, descriptor: int | None = None
) -> Iterator[Batch | Ended]:
    """Yield the batches of a file from a place on; `Ended` last when a bad row is to stop it.

    Raises:
        InvalidInput: The file cannot be read.
        files.DAMAGES: It breaks within.
    """
    schema = decode_schema_row(spec.schema)
    layout = meta.decode_layout(meta.table_row_name(spec.slot), spec.layout)
    encoder = RecordEncoder(StoredTable(schema, layout), spec, max_record_bytes)
    with open_source(spec.path, descriptor) as source:
        found = rows(spec, schema, source, start)
        left = max(0, spec.limit - start.rows) if spec.limit else -1
        yield from _batched(spec, found, encoder.mutation, source, start, left)


@dataclass(slots=True)
class _Making:
    """A batch in the making."""

    after: Place
    mutations: list[Mutation] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    size: int = 0

    @property
    def rows(self) -> int:
        return len(self.lines) + len(self.bad)

    def take(self, row: Row, encode: Callable[[dict[str, object]], Mutation]) -> BadRow | None:
        """Take a row in, or return what is wrong with it."""
        if row.record is None:
            return BadRow(row.line, row.problem, row.text)
        try:
            mutation = encode(dict(row.record))
        except LyreError as error:
            text = msgspec.json.encode(row.record, enc_hook=str)[:_SHOWN].decode(errors="replace")
            return BadRow(row.line, str(error), text)
        self.mutations.append(mutation)
        self.lines.append(row.line)
        self.size += mutation.size_bytes
        self.after = row.after
        return None

    def leave_out(self, bad: BadRow, after: Place) -> None:
        self.bad.append(bad)
        self.after = after

    def made(self, source: Source) -> Batch:
        return Batch(self.mutations, self.lines, self.bad, self.after, source.done_bytes, self.size)


def _batched(
    spec: ImportSpec,
    found: Iterator[Row],
    encode: Callable[[dict[str, object]], Mutation],
    source: Source,
    start: Place,
    left: int,
) -> Iterator[Batch | Ended]:
    making = _Making(start)
    while left and (row := next(found, None)) is not None:
        left -= 1
        bad = making.take(row, encode)
        if bad is not None and spec.stops_at_bad:
            if making.rows:
                yield making.made(source)
            yield Ended(bad=bad)
            return
        if bad is not None:
            making.leave_out(bad, row.after)
        if making.rows >= spec.batch_rows or making.size >= BATCH_BYTES:
            yield making.made(source)
            making = _Making(making.after)
    if making.rows:
        yield making.made(source)
