"""The process that reads: a file becomes batches of mutations.

It has a processor of its own, so that reading and checking go on while another process
commits. Batches go through a pipe, which holds little: who reads waits for who writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import msgspec

from lyredb.errors import LyreError
from lyredb.operations.transfer.encoding import RecordEncoder
from lyredb.operations.transfer.files import Source, open_source
from lyredb.operations.transfer.rows import Row, rows
from lyredb.operations.transfer.spec import (
    BATCH_BYTES,
    BadRow,
    Batch,
    Ended,
    ImportSpec,
    Place,
)
from lyredb.storage import meta
from lyredb.storage.mutation import Mutation
from lyredb.tables.evolution import decode_schema_row
from lyredb.tables.stored import StoredTable

_SHOWN = 300

_encode = msgspec.msgpack.Encoder().encode


def read_into(spec: bytes, start: bytes, max_record_bytes: int, pipe: Connection) -> None:
    """Read a file to its end; the main function of the process.

    Args:
        spec: An `ImportSpec` as MessagePack.
        start: The `Place` of the first row, as MessagePack.
        max_record_bytes: Largest record.
        pipe: Takes `Batch`es and at last `Ended`, each as MessagePack with a byte before it:
            ``B`` or ``E``.
    """
    asked = msgspec.msgpack.decode(spec, type=ImportSpec)
    place = msgspec.msgpack.decode(start, type=Place)
    problem = ""
    try:
        for batch in batches(asked, place, max_record_bytes):
            pipe.send_bytes(b"B" + _encode(batch))
    except (LyreError, OSError, EOFError) as error:
        problem = str(error)
    except (BrokenPipeError, KeyboardInterrupt):
        return
    pipe.send_bytes(b"E" + _encode(Ended(problem)))
    pipe.close()


def batches(spec: ImportSpec, start: Place, max_record_bytes: int) -> Iterator[Batch]:
    """Yield the batches of a file from a place on.

    Raises:
        InvalidInput: The file cannot be read.
        OSError, EOFError: It breaks within.
    """
    schema = decode_schema_row(spec.schema)
    layout = meta.decode_layout(meta.table_row_name(spec.slot), spec.layout)
    encoder = RecordEncoder(StoredTable(schema, layout), spec, max_record_bytes)
    with open_source(spec.path) as source:
        found = rows(spec, schema, source, start)
        left = spec.limit - start.rows if spec.limit else -1
        yield from _batched(spec, found, encoder.mutation, source, left)


@dataclass(slots=True)
class _Making:
    """A batch in the making."""

    mutations: list[Mutation] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    size: int = 0

    def take(self, row: Row, encode: Callable[[dict[str, object]], Mutation]) -> None:
        if row.record is None:
            self.bad.append(BadRow(row.line, row.problem, row.text))
            return
        try:
            mutation = encode(dict(row.record))
        except LyreError as error:
            text = msgspec.json.encode(row.record, enc_hook=str)[:_SHOWN].decode(errors="replace")
            self.bad.append(BadRow(row.line, str(error), text))
            return
        self.mutations.append(mutation)
        self.lines.append(row.line)
        self.size += mutation.size_bytes

    def made(self, after: Place, source: Source) -> Batch:
        return Batch(self.mutations, self.lines, self.bad, after, source.done_bytes)


def _batched(
    spec: ImportSpec,
    found: Iterator[Row],
    encode: Callable[[dict[str, object]], Mutation],
    source: Source,
    left: int,
) -> Iterator[Batch]:
    making = _Making()
    count = 0
    after = Place()
    for row in found:
        if not left:
            break
        left -= 1
        count += 1
        making.take(row, encode)
        after = row.after
        if count == spec.batch_rows or making.size >= BATCH_BYTES:
            yield making.made(after, source)
            making, count = _Making(), 0
    if count:
        yield making.made(after, source)
