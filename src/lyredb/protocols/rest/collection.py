"""Sending a collection: whole when it is small, else streamed while it is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Final

from lyredb.formats import AnswerFormat
from lyredb.protocols.http.errors import name_of, sentence_of
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.searches import OpenSearches
from lyredb.protocols.rest.service import PROTOCOL, Service, head_of
from lyredb.resources.target import Target
from lyredb.tables.query.results import Results
from lyredb.tables.query.terms import EVERYTHING, Query, Select
from lyredb.tables.schema import TableSchema

PART_BYTES: Final = 64 * 1024
"""A part is sent, and other work of the loop done, as soon as it has this size."""

logger: Final = logging.getLogger("lyredb.http")


async def answer_collection(
    service: Service, request: Request, target: Target, query: Query
) -> None:
    """Answer with what a query finds, or with its plan when it asks for that."""
    chosen = service.format_of(request)
    context = request.context(PROTOCOL)
    if query.explain:
        plan = service.database.explain(target, query, context)
        request.respond(200, head_of(chosen), chosen.encode(plan))
        return
    found = service.database.search(target, query, context)
    try:
        if request.method == "HEAD":
            request.respond_head(200, head_of(chosen))
            return
        stream = _Stream(found, lambda: _head(service, chosen, found))
        parts = chosen.encode_sequence(
            stream.values(), columns=columns_of(target.table.schema, query.select)
        )
        await send_collection(request, stream, parts, service.searches)
    finally:
        found.close()


def _head(service: Service, chosen: AnswerFormat, found: Results) -> bytes:
    """The header lines, which tell the one position that the whole answer is of."""
    position = service.database.position_token(found.position)
    read = f"x-lyredb-read: {found.mode}\r\nx-lyredb-position: {position}\r\n"
    return head_of(chosen) + read.encode()


def columns_of(schema: TableSchema, select: Select | None) -> tuple[str, ...] | None:
    """The names for formats that say them once; ``None`` where values have none.

    Without a select the declared attributes that whole records have: the first of them is
    the key, declared or not.
    """
    if select is None or any(item.name == EVERYTHING for item in select.items):
        declared = [one.name for one in schema.attributes if not one.is_virtual or one.enumerable]
        key = () if schema.attribute(schema.primary_key) else (schema.primary_key,)
        return (*key, *declared)
    return tuple(item.name for item in select.items) if select.form == "objects" else None


async def send_collection(
    request: Request, stream: _Stream, parts: Iterator[bytes], searches: OpenSearches
) -> None:
    """Answer with all values.

    An error after the first part appears as the last element, ``{error, message}``: the
    status was sent long before.

    Raises:
        Overloaded: They are many, and so are the answers of this kind.
    """
    try:
        await _send(request, stream, parts, searches)
    finally:
        if stream.has_begun:
            searches.end()


async def _send(
    request: Request, stream: _Stream, encoded: Iterator[bytes], searches: OpenSearches
) -> None:
    exchange = request.exchange
    parts: list[bytes] = []
    size = 0
    for part in encoded:
        if not part:
            # The search looked at many records: others have a turn before it goes on.
            await asyncio.sleep(0)
            if exchange.disconnected:
                return
            continue
        parts.append(part)
        size += len(part)
        if size < PART_BYTES:
            continue
        if not stream.has_begun:
            searches.begin()
            stream.has_begun = True
            exchange.start_stream(200, stream.head())
        exchange.write_part(b"".join(parts))
        parts, size = [], 0
        await exchange.drain()
        await asyncio.sleep(0)
        if exchange.disconnected:
            return
    if not stream.has_begun:
        request.respond(200, stream.head(), b"".join(parts))
        return
    exchange.write_part(b"".join(parts))
    exchange.end_stream()


class _Stream:
    """What is sent, and how its end is told when it is an error.

    Attributes:
        head: Returns the header lines; called when the first values are here.
        has_begun: Its status is sent.
    """

    def __init__(self, found: Results, head: Callable[[], bytes]) -> None:
        self._found = found
        self.head = head
        self.has_begun = False

    def values(self) -> Iterator[object]:
        """The values, and after an error in the middle that."""
        try:
            yield from self._found
        except Exception as error:
            if not self.has_begun:
                raise
            logger.exception("a collection ended early")
            yield {"error": name_of(error), "message": sentence_of(error)}
