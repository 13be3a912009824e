"""Sending a collection: whole when it is small, else streamed while it is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Final

from lyredb.formats import AnswerFormat, JsonFormat, Pause
from lyredb.protocols.http.errors import name_of, sentence_of
from lyredb.protocols.http.request import Request
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
    sending = begin_collection(service, request, target, query)
    if sending is not None:
        await sending.finish()


def begin_collection(
    service: Service, request: Request, target: Target, query: Query
) -> Sending | None:
    """Answer as `answer_collection`; what is large or takes long is returned, only begun."""
    chosen = service.format_of(request)
    context = request.context(PROTOCOL)
    if query.explain:
        plan = service.database.explain(target, query, context)
        request.respond(200, head_of(chosen), chosen.encode(plan))
        return None
    found = service.database.search(target, query, context)
    if request.method == "HEAD":
        found.close()
        request.respond_head(200, head_of(chosen))
        return None
    columns = columns_of(target.table.schema, query.select, found.readable)
    sending = Sending(service, request, found, chosen, columns)
    return None if sending.is_sent_whole() else sending


def _head(service: Service, chosen: AnswerFormat, found: Results) -> bytes:
    """The header lines, which tell the one position that the whole answer is of."""
    position = service.database.position_token(found.position)
    read = f"x-lyredb-read: {found.mode}\r\nx-lyredb-position: {position}\r\n"
    return head_of(chosen) + read.encode()


def columns_of(
    schema: TableSchema, select: Select | None, readable: frozenset[str] | None
) -> tuple[str, ...] | None:
    """The names for formats that say them once; ``None`` where values have none.

    Without a select the declared attributes that whole records have, as far as they may be
    read: the first of them is the key, declared or not.
    """
    if select is None or any(item.name == EVERYTHING for item in select.items):
        declared = [
            one.name
            for one in schema.attributes
            if (not one.is_virtual or one.enumerable) and (readable is None or one.name in readable)
        ]
        key = () if schema.attribute(schema.primary_key) else (schema.primary_key,)
        return (*key, *declared)
    return tuple(item.name for item in select.items) if select.form == "objects" else None


class Sending:
    """An answer with all that is found, on its way.

    Args:
        service: Bounds how many long ones there are.
        request: Is answered.
        found: Closed at the end.
        chosen: The format.
        columns: For formats that say the names once.
    """

    def __init__(
        self,
        service: Service,
        request: Request,
        found: Results,
        chosen: AnswerFormat,
        columns: tuple[str, ...] | None,
    ) -> None:
        self._service = service
        self._request = request
        self._found = found
        self._chosen = chosen
        self._has_begun = False
        self._gathered: list[bytes] = []
        self._size = 0
        if isinstance(chosen, JsonFormat):  # nearly all: several values in one step
            self._encoded = chosen.encode_lists(self._lists())
        else:
            self._encoded = chosen.encode_sequence(self._values(), columns=columns)

    def is_sent_whole(self) -> bool:
        """Send it when it is small and found at once; False when there is more to do."""
        is_all = False
        try:
            is_all = self._gather()
            if is_all:
                self._request.respond(200, self._head(), b"".join(self._gathered))
        except BaseException:
            self._found.close()
            raise
        return is_all

    async def finish(self) -> None:
        """Send the rest, a part at a time.

        An error after the first part appears as the last element, ``{error, message}``: the
        status was sent long before.

        Raises:
            Overloaded: There is much, and so are the answers of this kind.
        """
        try:
            await self._finish()
        finally:
            self._found.close()
            if self._has_begun:
                self._service.searches.end()

    async def _finish(self) -> None:
        exchange = self._request.exchange
        is_all = False
        while not is_all:
            if self._size >= PART_BYTES:
                await self._send_part()
            # The search looked at many records: others have a turn before it goes on.
            await asyncio.sleep(0)
            if exchange.disconnected:
                return
            is_all = self._gather()
        if not self._has_begun:
            self._request.respond(200, self._head(), b"".join(self._gathered))
            return
        exchange.write_part(b"".join(self._gathered))
        exchange.end_stream()

    def _gather(self) -> bool:
        """Encode until a part is full or others should have a turn; True at the end."""
        for part in self._encoded:
            if not part:
                return False
            self._gathered.append(part)
            self._size += len(part)
            if self._size >= PART_BYTES:
                return False
        return True

    async def _send_part(self) -> None:
        exchange = self._request.exchange
        if not self._has_begun:
            self._service.searches.begin()
            self._has_begun = True
            exchange.start_stream(200, self._head())
        data = b"".join(self._gathered)
        self._gathered, self._size = [], 0
        await exchange.send_part(data)  # a record may be far larger than a part

    def _head(self) -> bytes:
        return _head(self._service, self._chosen, self._found)

    def _values(self) -> Iterator[object]:
        """The values, and after an error in the middle that."""
        try:
            yield from self._found
        except Exception as error:
            yield self._told(error)

    def _lists(self) -> Iterator[list[object] | Pause]:
        """As `_values`, several at a time."""
        try:
            yield from self._found.lists()
        except Exception as error:
            yield [self._told(error)]

    def _told(self, error: Exception) -> dict[str, str]:
        if not self._has_begun:
            raise error
        logger.error("a collection ended early", exc_info=error)
        return {"error": name_of(error), "message": sentence_of(error)}
