"""Retained messages of open topics: listed and cleared, beside a server and without one.

They are the records of ``data.Topic``. Records of other tables are what subscribers get as
retained messages of their topics too; they are data, and are deleted as data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from lyredb.delivery.filters import Levels, literal_prefix, matches, parse_filter
from lyredb.errors import InvalidInput
from lyredb.operations.broker_requests import (
    MAX_LISTED,
    Cleared,
    ClearRetained,
    ListRetained,
    RetainedEntry,
    RetainedList,
)
from lyredb.storage.clock import version_ms
from lyredb.storage.engine import Engine
from lyredb.storage.keys import encode_full_key, encode_key, is_short_form, record_key
from lyredb.storage.layout import TOPIC_SLOT
from lyredb.storage.metadata import content_type_of
from lyredb.storage.mutation import Kind, Mutation
from lyredb.storage.record import decode_header
from lyredb.storage.sequencer import Sequencer

_PAGE: Final = 500
"""Records that are looked at, and deleted, in one go: about 1 ms, then others have a turn."""
_PREFIX_BYTES: Final = 400
"""Of a filter's fixed beginning that is looked up; keys are cut at 460 bytes."""
_LAST: Final = b"\xff"
"""Above every byte of UTF-8."""


class Retained:
    """The retained messages of a data directory.

    Args:
        engine: Where they are read.
        sequencer: Where deletions go.
    """

    def __init__(self, engine: Engine, sequencer: Sequencer) -> None:
        self._engine = engine
        self._sequencer = sequencer

    async def listed(self, request: ListRetained) -> RetainedList:
        """Return those that a filter matches, in the order of their topics.

        Raises:
            InvalidTopic: The filter is not legal.
            InvalidInput: The limit is not.
        """
        limit = checked_limit(request.limit)
        levels = parse_filter(request.filter)
        after = encode_key(request.after) if request.after else None
        found: list[RetainedEntry] = []
        while True:
            page, after = self._page(levels, after)
            for _, entry in page:
                if len(found) == limit:
                    return RetainedList(found, found[-1].topic)
                found.append(entry)
            if after is None:
                return RetainedList(found)
            await asyncio.sleep(0)

    async def clear(self, request: ClearRetained) -> Cleared:
        """Delete those that a filter matches; subscribers are told of each.

        Messages that come meanwhile may stay. Up to `_PAGE` are deleted in one transaction.

        Raises:
            InvalidTopic: The filter is not legal.
            StorageError, Overloaded: As every write; those before are deleted.
        """
        levels = parse_filter(request.filter)
        after: bytes | None = None
        count = 0
        while True:
            page, after = self._page(levels, after)
            if page:
                deletions = [_deletion(key, entry.topic) for key, entry in page]
                applied = await self._sequencer.commit(deletions, bulk=True)
                count += sum(outcome.existed for outcome in applied.outcomes)
            if after is None:
                return Cleared(count)
            await asyncio.sleep(0)

    def _page(
        self, levels: Levels, after: bytes | None
    ) -> tuple[list[tuple[bytes, RetainedEntry]], bytes | None]:
        """Return what matches among the next records, and behind which key it goes on."""
        start = encode_full_key(literal_prefix(levels).decode())[:_PREFIX_BYTES]
        with self._engine.snapshot() as snapshot:
            rows, after = snapshot.page(TOPIC_SLOT, start, start + _LAST, _PAGE, after=after)
        return list(_matching(rows, levels)), after


def _deletion(key: bytes, topic: str) -> Mutation:
    full_id = encode_full_key(topic) if is_short_form(key) else b""
    return Mutation(TOPIC_SLOT, key, Kind.DELETE, full_id=full_id)


def checked_limit(limit: int) -> int:
    """Return a limit that is one.

    Raises:
        InvalidInput: It is not.
    """
    if not 1 <= limit <= MAX_LISTED:
        raise InvalidInput(f"limit must be 1 to {MAX_LISTED}, got {limit}")
    return limit


def _matching(
    rows: list[tuple[bytes, bytes]], levels: Levels
) -> Iterator[tuple[bytes, RetainedEntry]]:
    for key, stored in rows:
        header = decode_header(stored)
        topic = str(record_key(key, header))
        if matches(levels, topic.encode()):
            yield (
                key,
                RetainedEntry(
                    topic=topic,
                    size=len(stored) - header.body_offset,
                    qos=header.qos,
                    content_type=content_type_of(header.metadata_bytes),
                    since_ms=version_ms(header.version),
                    expires_ms=header.expires_ms,
                ),
            )
