"""The guard on a fake transport: every split of the bytes, and bytes that went wrong."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

import pytest
import uvicorn

from lyredb.plugins.network import Peer
from lyredb.protocols.http import HttpLimits, Request
from lyredb.protocols.http.guard import Guard
from lyredb.protocols.http.port import Port
from lyredb.protocols.http.router import Router

STREAM = (
    b"GET /now/1 HTTP/1.1\r\nHost: h\r\n\r\n"
    b"PUT /x/2 HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"
    b"GET /now/3?q=1 HTTP/1.1\r\nHost: h\r\n\r\n"
    b"PUT /x/4 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    b"HEAD /now/5 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
)


class FakeTransport:
    """Keeps what is written."""

    def __init__(self) -> None:
        self.written = b""
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.is_closed = True

    abort = close
    write_eof = close

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str, default: object = None) -> object:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default


def text_of(request: Request, body: bytes = b"") -> None:
    request.respond(200, b"", request.path.encode() + b":" + body)


def answer_now(request: Request, fail: object) -> bool:
    text_of(request, bytes(request.exchange.body))
    return True


async def answer(request: Request) -> None:
    text_of(request, await request.body(1_000))


def make_guard() -> tuple[Guard, FakeTransport]:
    router = Router()
    router.mount("now", lambda one: one.path.startswith("now"), answer, now=answer_now)
    router.mount("x", lambda one: one.path.startswith("x"), answer)
    config = uvicorn.Config(cast(Any, router), log_config=None, access_log=False, lifespan="off")
    config.load()
    port = Port(HttpLimits(), None)
    port.answer_now = router.answer_now
    guard, transport = Guard(config, port, {}, peer=Peer("127.0.0.1", 1)), FakeTransport()
    guard.connection_made(cast(Any, transport))
    return guard, transport


async def settled(guard: Guard) -> None:
    async with asyncio.timeout(10):
        while guard.tasks:
            await asyncio.gather(*guard.tasks)


async def fed(*chunks: bytes) -> FakeTransport:
    guard, transport = make_guard()
    for chunk in chunks:
        guard.data_received(chunk)
        for _ in range(3):  # a task may wait for the rest of its body
            await asyncio.sleep(0)
    await settled(guard)
    guard.connection_lost(None)
    return transport


def test_every_split_of_a_stream_gives_the_same_answers() -> None:
    async def body() -> None:
        whole = (await fed(STREAM)).written
        assert whole.count(b"200 OK") == 5
        for part in (b"now/1:", b"x/2:hello", b"now/3:", b"x/4:abc"):
            assert part in whole
        for at in range(1, len(STREAM)):
            assert (await fed(STREAM[:at], STREAM[at:])).written == whole, at
        one_by_one = [STREAM[at : at + 1] for at in range(len(STREAM))]
        assert (await fed(*one_by_one)).written == whole

    asyncio.run(body())


@pytest.mark.parametrize("seed", range(8))
def test_mutated_streams_never_raise_and_end_or_are_answered(seed: int) -> None:
    """An exception in `data_received` would be the loop's, and close nothing."""
    chance = random.Random(seed)

    async def body() -> None:
        for _ in range(60):
            data = bytearray(STREAM)
            for _ in range(chance.randint(1, 6)):
                at = chance.randrange(len(data))
                match chance.randrange(3):
                    case 0:
                        data[at] = chance.randrange(256)
                    case 1:
                        del data[at : at + chance.randrange(1, 30)]
                    case _:
                        data[at:at] = chance.randbytes(chance.randrange(1, 30))
            cut = chance.randrange(len(data))
            guard, transport = make_guard()
            guard.data_received(bytes(data[:cut]))
            guard.data_received(bytes(data[cut:]))
            for _ in range(5):
                await asyncio.sleep(0)
            guard.connection_lost(None)
            await settled(guard)
            answers = transport.written.split(b"HTTP/1.1 ")[1:]
            assert all(answer[:3].isdigit() for answer in answers)

    asyncio.run(body())
