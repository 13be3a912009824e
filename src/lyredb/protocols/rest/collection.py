"""Sending a collection: whole when it is small, else streamed while it is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from lyredb.formats import StructuredFormat
from lyredb.protocols.http.errors import name_of, sentence_of
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.searches import OpenSearches
from lyredb.protocols.rest.service import head_of

PART_BYTES: Final = 64 * 1024
"""A part is sent, and other work of the loop done, as soon as it has this size."""

logger: Final = logging.getLogger("lyredb.http")


async def send_collection(
    request: Request, chosen: StructuredFormat, values: Iterator[object], searches: OpenSearches
) -> None:
    """Answer with all values.

    An error after the first part appears as the last element, ``{error, message}``: the
    status was sent long before.

    Raises:
        Overloaded: They are many, and so are the answers of this kind.
    """
    stream = _Values(values)
    try:
        await _send(request, chosen, stream, searches)
    finally:
        if stream.has_begun:
            searches.end()


async def _send(
    request: Request, chosen: StructuredFormat, stream: _Values, searches: OpenSearches
) -> None:
    exchange = request.exchange
    parts: list[bytes] = []
    size = 0
    for part in chosen.encode_sequence(stream):
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
            exchange.start_stream(200, head_of(chosen))
        exchange.write_part(b"".join(parts))
        parts, size = [], 0
        await exchange.drain()
        await asyncio.sleep(0)
        if exchange.disconnected:
            return
    if not stream.has_begun:
        request.respond(200, head_of(chosen), b"".join(parts))
        return
    exchange.write_part(b"".join(parts))
    exchange.end_stream()


class _Values:
    """The values, and how their end is told when it is an error."""

    def __init__(self, values: Iterator[object]) -> None:
        self._values = values
        self.has_begun = False

    def __iter__(self) -> Iterator[object]:
        try:
            yield from self._values
        except Exception as error:
            if not self.has_begun:
                raise
            logger.exception("a collection ended early")
            yield {"error": name_of(error), "message": sentence_of(error)}
