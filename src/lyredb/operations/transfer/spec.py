"""What is to be imported, and what comes from the process that reads: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import msgspec

from lyredb.storage.mutation import Mutation

FileFormat = Literal["csv", "ndjson", "json", "parquet"]
Mode = Literal["put", "insert", "patch"]

STDIN: Final = "-"
BATCH_ROWS: Final = 1_000
BATCH_BYTES: Final = 1_000_000
"""A batch is one transaction: large enough to be cheap, small enough to share a commit."""
MAX_LINE_BYTES: Final = 16_000_000
"""The largest record that any setting allows, as text."""
MAX_COLUMNS: Final = 10_000
SHOWN: Final = 300
"""Characters of a bad row that are told."""


class ImportSpec(msgspec.Struct, frozen=True):
    """One file for one table.

    Attributes:
        path: The file, or ``-`` for standard input.
        format: Of its rows.
        schema: The table's schema row; see `lyredb.tables.evolution.encode_schema_row`.
        layout: The table's layout row; see `lyredb.storage.meta.encode_layout`.
        slot: The table's slot.
        mode: ``put`` replaces, ``insert`` refuses existing keys, ``patch`` merges.
        key: The column that is the key; ``""`` for that of the key attribute.
        delimiter: Of CSV.
        null: The text of a CSV cell that stands for null, besides an empty one.
        user: Whose name stands in the log.
        batch_rows: Rows of a batch at most.
        limit: So many rows at most, 0 for all.
        stops_at_bad: The first bad row ends the import; those before it are written.
    """

    path: str
    format: FileFormat
    schema: bytes
    layout: bytes
    slot: int
    mode: Mode = "put"
    key: str = ""
    delimiter: str = ","
    null: str = ""
    user: str = ""
    batch_rows: int = BATCH_ROWS
    limit: int = 0
    stops_at_bad: bool = False


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where in a file the next row is.

    Attributes:
        offset: Bytes from the beginning, of files that are read as they are; 0 where rows
            have to be counted (compressed files, pipes, Parquet, JSON).
        rows: Rows before it, bad ones included.
        line: Lines before it, of text.
    """

    offset: int = 0
    rows: int = 0
    line: int = 0


class Row(NamedTuple):
    """A row: a record, or a problem.

    Attributes:
        line: Where it begins, from 1.
        record: ``None`` when it is bad.
        problem: A sentence, when it is bad.
        text: The row as it stands there, shortened; only of a bad one.
        after: The place behind it.
    """

    line: int
    record: Mapping[str, object] | None
    problem: str
    text: str
    after: Place


class BadRow(msgspec.Struct, frozen=True, array_like=True):
    """A row that cannot be imported.

    Attributes:
        line: Where it begins, from 1; the number of the row where there are no lines.
        problem: A sentence.
        text: The row as it stands there, shortened.
    """

    line: int
    problem: str
    text: str = ""


class Batch(msgspec.Struct, frozen=True, array_like=True):
    """Rows that became mutations, and those that did not.

    Attributes:
        mutations: In the order of the rows. One with an empty key wants a generated integer.
        lines: The line of each mutation.
        bad: Rows that were left out.
        after: The place behind the last row.
        done_bytes: Of the file that have been read, compressed as it may be.
        size_bytes: Of the mutations.
    """

    mutations: list[Mutation]
    lines: list[int]
    bad: list[BadRow]
    after: Place
    done_bytes: int
    size_bytes: int = 0


class Ended(msgspec.Struct, frozen=True, array_like=True):
    """There are no more batches.

    Attributes:
        problem: Why not, when the file was not read to its end; else empty.
        bad: The row at which it was to stop.
    """

    problem: str = ""
    bad: BadRow | None = None
