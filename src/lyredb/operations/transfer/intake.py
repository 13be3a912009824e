"""The server's side of an import: takes transactions behind what its clients write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from lyredb.errors import (
    InvalidBody,
    LyreError,
    Overloaded,
    StorageError,
    UnknownTopic,
    WriteConflict,
)
from lyredb.operations.requests import (
    DescribeTable,
    GetImportState,
    ImportRequest,
    RowsWritten,
    StateRow,
    TableDescription,
    WriteRows,
)
from lyredb.operations.transfer.state import surplus_rows
from lyredb.storage import meta
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.mutation import Applied, Mutation
from lyredb.storage.sequencer import Result, Sequencer
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.evolution import encode_schema_row
from lyredb.tables.schema import SYSTEM_DATABASE

_PAUSE_S: Final = 0.05
_mutations: Final = msgspec.msgpack.Decoder(list[Mutation])


def describe_table(engine: Engine, full_name: str) -> TableDescription:
    """Return what an import has to know of a table.

    Raises:
        UnknownTopic: There is none, or it is one of the server's own.
    """
    table = Catalogue.read(engine).table(full_name)
    if table.schema.database == SYSTEM_DATABASE:
        raise UnknownTopic(f"{full_name} is the server's own; nothing is imported into it")
    return TableDescription(
        table.slot,
        encode_schema_row(table.schema),
        meta.encode_layout(table.layout),
        engine.settings.max_record_bytes,
    )


class Intake:
    """Does what imports ask of a running server, one request after the other.

    An import is asked for how far it is only when nothing of it is on its way any more, and
    a transaction is taken only from whoever knows how far it is. So a command that was killed
    and started again writes no row twice, and neither do two commands with the same file.

    Args:
        engine: Of the writer.
        sequencer: The writer.
    """

    def __init__(self, engine: Engine, sequencer: Sequencer) -> None:
        self._engine = engine
        self._sequencer = sequencer
        self._turn = asyncio.Lock()
        self._waiting: set[asyncio.Future[Result]] = set()

    async def perform(self, request: ImportRequest) -> TableDescription | StateRow | RowsWritten:
        """Do one thing.

        Raises:
            UnknownTopic, InvalidBody: It cannot be done.
            WriteConflict: The import has come further than whoever asks knows.
            StorageError, Overloaded: Nothing can be written at present.
        """
        if isinstance(request, DescribeTable):
            return describe_table(self._engine, request.table)
        async with self._turn:
            await self._settled()
            if isinstance(request, GetImportState):
                return StateRow(self._row(request.name))
            return await self._write(request)

    async def _settled(self) -> None:
        """Wait for what an earlier request has submitted and did not wait for to its end."""
        if self._waiting:
            await asyncio.wait(self._waiting)

    def _row(self, name: bytes) -> bytes | None:
        with self._engine.snapshot() as snapshot:
            return snapshot.session_row(name)

    async def _write(self, request: WriteRows) -> RowsWritten:
        """Submit all at once, so that they share commits; answer when all are on disk."""
        name = request.parts[0][1] if request.parts else b""
        if name and (self._row(name) or b"") != request.before:
            raise WriteConflict("another run of the same import is writing; let it end")
        results: list[asyncio.Future[Result]] = []
        for packed, name, row in request.parts:
            mutations = await self._with_keys(_decoded(packed))
            rows = self._rows(mutations, name, row)
            results.append(await self._submitted(mutations, rows, is_first=not results))
        found = [await each for each in results]
        for result in found:
            if isinstance(result, StorageError):
                raise result
        return RowsWritten([_told(result) for result in found])

    def _rows(
        self, mutations: Sequence[Mutation], name: bytes, row: bytes
    ) -> list[tuple[bytes, bytes | None]]:
        if not name:
            return []
        rows: list[tuple[bytes, bytes | None]] = [(name, row)]
        if not mutations:
            with self._engine.snapshot() as snapshot:
                rows += surplus_rows(snapshot, name)
        return rows

    async def _submitted(
        self,
        mutations: Sequence[Mutation],
        rows: Sequence[tuple[bytes, bytes | None]],
        *,
        is_first: bool,
    ) -> asyncio.Future[Result]:
        """Submit a transaction; one that is not the first of its request waits for room.

        Only a request of which nothing is on its way can be asked again.
        """
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        if not mutations and not rows:
            future.set_result(Applied(self._engine.position, ()))
            return future
        while True:
            try:
                self._submit(mutations, rows, future)
            except Overloaded:
                if is_first:
                    raise
                await asyncio.sleep(_PAUSE_S)
            else:
                return future

    def _submit(
        self,
        mutations: Sequence[Mutation],
        rows: Sequence[tuple[bytes, bytes | None]],
        future: asyncio.Future[Result],
    ) -> None:
        self._sequencer.submit(mutations, _resolving(future), session_rows=rows, bulk=True)
        self._waiting.add(future)
        future.add_done_callback(self._waiting.discard)

    async def _with_keys(self, mutations: list[Mutation]) -> list[Mutation]:
        missing = sum(not mutation.key for mutation in mutations)
        if not missing:
            return mutations
        integers = await self._integers(mutations[0].slot, missing)
        return [
            mutation
            if mutation.key
            else msgspec.structs.replace(mutation, key=encode_key(integers.pop()))
            for mutation in mutations
        ]

    async def _integers(self, slot: int, count: int) -> list[int]:
        """Return so many integers, the lowest last."""
        found: list[int] = []
        loop = asyncio.get_running_loop()
        while len(found) < count:
            future: asyncio.Future[range | LyreError] = loop.create_future()
            self._sequencer.lease_integers(slot, future.set_result)
            lease = await future
            if isinstance(lease, LyreError):
                raise lease
            found += lease
        return found[:count][::-1]


def _decoded(packed: bytes) -> list[Mutation]:
    try:
        return _mutations.decode(packed)
    except msgspec.DecodeError as error:
        raise InvalidBody(f"no mutations of this version: {error}") from error


def _resolving(future: asyncio.Future[Result]) -> Callable[[Result], None]:
    def resolve(result: Result) -> None:
        if not future.done():
            future.set_result(result)

    return resolve


def _told(result: Result) -> tuple[str, str]:
    return (type(result).__name__, str(result)) if isinstance(result, LyreError) else ("", "")
