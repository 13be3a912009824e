"""Sending a collection: whole when it is small, else streamed while it is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from lyredb.errors import Overloaded
from lyredb.formats import StructuredFormat
from lyredb.protocols.http.errors import name_of, sentence_of
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.service import head_of

PART_BYTES: Final = 64 * 1024
"""A part is sent, and other work of the loop done, as soon as it has this size."""

logger: Final = logging.getLogger("lyredb.http")


class OpenSearches:
    """How many answers that are too long for one part are under way.

    No snapshot of the store is open while a part waits for its reader, but each answer
    holds a page of records, and one by an index all keys that it found.

    Args:
        most: Beyond it further ones are refused.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.open = 0

    def begin(self) -> None:
        """Count one more.

        Raises:
            Overloaded: There are enough.
        """
        if self.open >= self._most:
            raise Overloaded("too many long results are being sent; try again, or with a limit")
        self.open += 1

    def end(self) -> None:
        """Undo one `begin`."""
        self.open -= 1


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
