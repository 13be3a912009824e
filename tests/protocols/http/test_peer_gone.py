"""A peer that goes away in the middle is no fault of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from lyredb.protocols.http import Request
from tests.protocols.http.harness import running


def respond(request: Request) -> None:
    request.respond(204)


def stream(request: Request) -> None:
    request.exchange.start_stream(200, b"")
    request.exchange.write_part(b"x")
    request.exchange.end_stream()


@pytest.mark.parametrize("answer", [respond, stream])
def test_answer_to_nobody_is_no_error(
    caplog: pytest.LogCaptureFixture, answer: Callable[[Request], None]
) -> None:
    """uvloop closes a transport whose peer is gone, and refuses writes, before it says so."""

    async def body() -> None:
        answered = asyncio.Event()

        async def handler(request: Request) -> None:
            request.exchange.transport.abort()
            answer(request)
            answered.set()

        async with running(handler) as port:
            client = await port.connect()
            client.send(b"PUT /x/1 HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\n\r\n{}" * 3)
            async with asyncio.timeout(5):
                await answered.wait()
                assert await client.at_end()

    uvloop.run(body())
    assert not [record for record in caplog.records if record.exc_info], caplog.text
