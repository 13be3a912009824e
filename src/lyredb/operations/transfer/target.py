"""Where an import writes: the store of this process, or a running server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from lyredb.operations.transfer.state import surplus_rows
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.mutation import Applied, Mutation
from lyredb.storage.sequencer import Result
from lyredb.storage.writer import Writer

MAINTENANCE_STEPS: Final = 50
"""Between two commits: the log's own index must not fall behind what is written."""


class Part(NamedTuple):
    """One transaction of an import.

    Attributes:
        mutations: All or nothing of them is done; one with an empty key gets an integer.
        name: Of the row that says how far it is, ``b""`` for none.
        row: Its value. With a part that has no mutations, rows of old imports go away.
    """

    mutations: Sequence[Mutation]
    name: bytes
    row: bytes


class Target(Protocol):
    """Takes transactions; all calls wait until they are on disk."""

    @property
    def rows_at_once(self) -> int:
        """How many rows one transaction should have."""

    @property
    def bytes_at_once(self) -> int:
        """How many bytes one transaction should have; it may have a batch more."""

    def state(self, name: bytes) -> bytes | None:
        """Return a row that says how far an import is."""

    def write(self, parts: Sequence[Part]) -> list[Result]:
        """Commit transactions in their order, each alone refused or not.

        Raises:
            WriteConflict: Somebody else has written the row of this import since `state`.
            StorageError, Overloaded: Nothing more can be written at present.
        """


class LocalTarget:
    """The store that this process has opened; nobody else writes it.

    Args:
        engine: Open for writing.
        writer: Its writer, whose groups may be large.
        rows_at_once: See `Target`.
        bytes_at_once: See `Target`.
    """

    def __init__(
        self, engine: Engine, writer: Writer, *, rows_at_once: int, bytes_at_once: int
    ) -> None:
        self._engine = engine
        self._writer = writer
        self.rows_at_once = rows_at_once
        self.bytes_at_once = bytes_at_once
        self._integers = Integers(engine, writer)

    def state(self, name: bytes) -> bytes | None:
        """Return the row as it is stored."""
        with self._engine.snapshot() as snapshot:
            return snapshot.session_row(name)

    def write(self, parts: Sequence[Part]) -> list[Result]:
        """Commit at once; see `Target`."""
        results: list[Result] = []
        for part in parts:
            mutations = self._integers.given(part.mutations)
            rows = self._rows(part)
            if mutations or rows:
                self._writer.submit(mutations, results.append, session_rows=rows)
            else:
                results.append(Applied(self._engine.position, ()))
        self._writer.commit_now()
        for _ in range(MAINTENANCE_STEPS):
            if not self._writer.maintain():
                break
        return results

    def _rows(self, part: Part) -> list[tuple[bytes, bytes | None]]:
        if not part.name:
            return []
        rows: list[tuple[bytes, bytes | None]] = [(part.name, part.row)]
        if not part.mutations:
            with self._engine.snapshot() as snapshot:
                rows += surplus_rows(snapshot, part.name)
        return rows


class Integers:
    """Gives integer keys to mutations that have none."""

    def __init__(self, engine: Engine, writer: Writer) -> None:
        self._engine = engine
        self._writer = writer
        self._left: dict[int, list[int]] = {}

    def given(self, mutations: Sequence[Mutation]) -> Sequence[Mutation]:
        """Return them with keys.

        Raises:
            LyreError: There are no integers left.
        """
        if all(mutation.key for mutation in mutations):
            return mutations
        return [
            mutation
            if mutation.key
            else replace(mutation, key=encode_key(self._next(mutation.slot)))
            for mutation in mutations
        ]

    def _next(self, slot: int) -> int:
        left = self._left.setdefault(slot, [])
        if not left:
            lease = self._writer.leases.lease(slot, durable=True)
            left.extend(reversed(lease))
        return left.pop()
