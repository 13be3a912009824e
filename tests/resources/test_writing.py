"""What a payload becomes: a record, bytes, or an error that leaves the record alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from lyredb.errors import InvalidBody, LyreError, NestingTooDeep
from lyredb.resources.requests import Write, Written
from lyredb.server.node import Node
from lyredb.tables.sdl import parse_sdl
from tests.resources.node_under_test import CONTEXT

SDL = "type Sensor @table @export { id: ID @primaryKey value: Int }"


async def write_payload(node: Node, topic: str, payload: bytes, content_type: str = "") -> None:
    """As a retained publish does; refusals are raised before anything is sent."""
    result: asyncio.Future[Written | LyreError] = asyncio.get_running_loop().create_future()
    target = node.database.registry.topic(topic, "python")
    write = Write(target, "put", payload=payload, content_type=content_type, retain=True)
    node.database.submit(write, CONTEXT, result.set_result)
    assert isinstance(await result, Written)


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (b'{"value": 1', InvalidBody),
        (b"{value: 1}", InvalidBody),
        (b' \n{"value": 1}x', InvalidBody),
        (b'{"value": 1e999}', InvalidBody),
        (b'{"value": "\xff"}', InvalidBody),
        (b'{"value": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", NestingTooDeep),
    ],
)
def test_broken_object_is_refused_and_does_not_become_bytes(
    tmp_path: Path, payload: bytes, error: type[LyreError]
) -> None:
    """It was meant to be a record: kept as bytes it would replace a good one."""

    async def body() -> None:
        node = Node.open(tmp_path / "data", parse_sdl(SDL))
        try:
            with pytest.raises(error):
                await write_payload(node, "Sensor/a", payload)
        finally:
            await node.close()

    asyncio.run(body())


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [
        (b"\x00\x01", ""),
        (b"21.5", ""),
        (b"[1, 2", ""),
        (b"{broken", "text/plain"),
    ],
)
def test_other_bytes_are_kept_where_no_form_is_asked_for(
    tmp_path: Path, payload: bytes, content_type: str
) -> None:
    """Nothing says that these are objects, or the content type says that they are none."""

    async def body() -> None:
        node = Node.open(tmp_path / "data", parse_sdl(SDL))
        try:
            await write_payload(node, "Sensor/a", payload, content_type)
        finally:
            await node.close()

    asyncio.run(body())


def test_open_topics_keep_a_broken_object_byte_for_byte(tmp_path: Path) -> None:
    async def body() -> None:
        node = Node.open(tmp_path / "data", parse_sdl(""), open_topics=True)
        try:
            await write_payload(node, "any/topic", b'{"value": 1')
        finally:
            await node.close()

    asyncio.run(body())
