"""The server's side of an import: takes transactions behind what its clients write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from lyredb.errors import InvalidBody, LyreError, StorageError, UnknownTopic
from lyredb.operations.requests import (
    DescribeTable,
    GetImportState,
    ImportRequest,
    RowsWritten,
    StateRow,
    TableDescription,
    WriteRows,
)
from lyredb.storage import meta
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_key
from lyredb.storage.mutation import Mutation
from lyredb.storage.sequencer import Result, Sequencer
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.evolution import encode_schema_row

_mutations: Final = msgspec.msgpack.Decoder(list[Mutation])


def describe_table(engine: Engine, full_name: str) -> TableDescription:
    """Return what an import has to know of a table.

    Raises:
        UnknownTopic: There is none, or it is one of the server's own.
    """
    tables = Catalogue.read(engine).tables
    table = tables.get(full_name)
    if table is None or table.name.startswith("system."):
        own = sorted(name for name in tables if not name.startswith("system."))
        raise UnknownTopic(f"there is no table {full_name}; there are {', '.join(own)[:300]}")
    return TableDescription(
        table.slot,
        encode_schema_row(table.schema),
        meta.encode_layout(table.layout),
        engine.settings.max_record_bytes,
    )


class Intake:
    """Does what imports ask of a running server.

    Args:
        engine: Of the writer.
        sequencer: The writer.
    """

    def __init__(self, engine: Engine, sequencer: Sequencer) -> None:
        self._engine = engine
        self._sequencer = sequencer

    async def perform(self, request: ImportRequest) -> TableDescription | StateRow | RowsWritten:
        """Do one thing.

        Raises:
            UnknownTopic, InvalidBody: It cannot be done.
            StorageError, Overloaded: Nothing can be written at present.
        """
        match request:
            case DescribeTable():
                return describe_table(self._engine, request.table)
            case GetImportState():
                with self._engine.snapshot() as snapshot:
                    return StateRow(snapshot.session_row(request.name))
            case WriteRows():
                return await self._write(request)

    async def _write(self, request: WriteRows) -> RowsWritten:
        """Submit all at once, so that they share commits; answer when all are on disk."""
        waiting: list[asyncio.Future[Result]] = []
        loop = asyncio.get_running_loop()
        for packed, name, row in request.parts:
            mutations = await self._with_keys(_decoded(packed))
            future: asyncio.Future[Result] = loop.create_future()
            rows = [(name, row)] if name else []
            self._sequencer.submit(mutations, _resolving(future), session_rows=rows, bulk=True)
            waiting.append(future)
        results = [await each for each in waiting]
        for result in results:
            if isinstance(result, StorageError):
                raise result
        return RowsWritten([_told(result) for result in results])

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
        if not future.cancelled():
            future.set_result(result)

    return resolve


def _told(result: Result) -> tuple[str, str]:
    return (type(result).__name__, str(result)) if isinstance(result, LyreError) else ("", "")
