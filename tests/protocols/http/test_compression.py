"""Answers that are compressed, and bodies that come so, through a real port."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable
from random import Random

import brotli
import pytest
import zstandard

from lyredb.protocols.http import HttpLimits, Request
from tests.protocols.http.harness import RawClient, Reply, TestPort, running

LARGE = b'{"name": "value"}' * 20_000
"""Of 340 kB: more than one piece."""
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "br": brotli.decompress,
    "gzip": gzip.decompress,
    "zstd": lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data),
}
JSON = b"content-type: application/json\r\n"


async def answer(request: Request) -> None:
    """Answer with as many bytes as the path says, ``/x/<type>/<size>``."""
    _, kind, size = request.path.split("/")
    head = b'content-type: application/%b\r\netag: "t"\r\nvary: accept\r\n' % kind.encode()
    request.respond(200, head, LARGE[: int(size)])


async def stream(request: Request) -> None:
    exchange = request.exchange
    exchange.start_stream(200, JSON)
    for number in range(3):
        exchange.write_part(b"part %d" % number)
        await exchange.drain()
    exchange.end_stream()


async def echo(request: Request) -> None:
    body = await request.body(10_000_000)
    assert b"content-encoding" not in request.headers
    request.respond(200, b"content-type: application/octet-stream\r\n", body)


def run(
    handler: Callable[[Request], Awaitable[None]],
    body: Callable[[TestPort], Awaitable[None]],
    limits: HttpLimits | None = None,
) -> None:
    async def whole() -> None:
        async with running(handler, limits=limits) as port:
            await body(port)

    asyncio.run(whole())


def ask(
    path: str,
    head: bytes = b"",
    *,
    method: str = "GET",
    body: bytes = b"",
    handler: Callable[[Request], Awaitable[None]] = answer,
    limits: HttpLimits | None = None,
) -> Reply:
    found: list[Reply] = []

    async def one(port: TestPort) -> None:
        found.append(await port.ask(method, path, head, body))

    run(handler, one, limits)
    return found[0]


@pytest.mark.parametrize("coding", UNPACK)
@pytest.mark.parametrize("size", [1_200, 65_536, 65_537, len(LARGE)])
def test_a_large_answer_is_compressed(coding: str, size: int) -> None:
    """Whether it takes one piece or several, with its length and a tag of its own."""
    reply = ask(f"/x/json/{size}", f"accept-encoding: {coding}\r\n".encode())
    assert reply.status == 200
    assert reply.headers["content-encoding"] == coding
    assert reply.headers["etag"] == f'"t.{coding}"'
    assert int(reply.headers["content-length"]) == len(reply.body) < size
    assert UNPACK[coding](reply.body) == LARGE[:size]


@pytest.mark.parametrize(
    ("path", "accepted"),
    [
        ("/x/json/1199", b"br"),
        ("/x/octet-stream/9000", b"br"),
        ("/x/json/9000", b""),
        ("/x/json/9000", b"deflate"),
        ("/x/json/9000", b"br;q=0"),
    ],
)
def test_what_gains_nothing_or_is_not_wanted_is_sent_as_it_is(path: str, accepted: bytes) -> None:
    """Small, of another type, or for a client that does not say that it can read it."""
    reply = ask(path, b"accept-encoding: %b\r\n" % accepted)
    assert "content-encoding" not in reply.headers
    assert reply.headers["etag"] == '"t"'
    assert reply.body == LARGE[: int(path.rpartition("/")[2])]


def test_caches_learn_that_the_coding_depends_on_the_client() -> None:
    """Also from the answer that is not compressed (RFC 9110 §12.5.5)."""

    async def body(port: TestPort) -> None:
        for head in (b"", b"accept-encoding: br\r\n"):
            client = await port.connect()
            client.send(b"GET /x/json/9000 HTTP/1.1\r\nhost: a\r\n%b\r\n" % head)
            lines = (await client.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
            assert b"vary: accept-encoding" in lines
            assert b"vary: accept" in lines

    run(answer, body)


def test_nothing_is_compressed_when_it_is_off() -> None:
    """http.compressionThreshold: 0."""
    limits = HttpLimits(compress_from_bytes=0)
    reply = ask("/x/json/90000", b"accept-encoding: br\r\n", limits=limits)
    assert reply.body == LARGE[:90_000]
    assert reply.headers["vary"] == "accept"


@pytest.mark.parametrize("size", [1_200, len(LARGE)])
def test_head_says_what_get_would(size: int) -> None:
    """But for the length, which nobody knows before it was compressed."""
    head = b"accept-encoding: br\r\n"
    got, told = ask(f"/x/json/{size}", head), ask(f"/x/json/{size}", head, method="HEAD")
    assert "content-length" not in told.headers
    expected = got.headers.keys() - {"content-length"}
    assert {name: told.headers[name] for name in expected - {"date"}} == {
        name: got.headers[name] for name in expected - {"date"}
    }


def test_a_client_that_refuses_bodies_as_they_are_gets_small_ones_compressed() -> None:
    """``identity;q=0``; and 406 where no coding of ours will do."""
    reply = ask("/x/json/20", b"accept-encoding: identity;q=0, gzip\r\n")
    assert gzip.decompress(reply.body) == LARGE[:20]
    refused = ask("/x/json/20", b"accept-encoding: *;q=0\r\n")
    assert refused.status == 406
    assert b"identity" in refused.body
    assert refused.headers["content-type"] == "text/plain; charset=utf-8"


@pytest.mark.parametrize("coding", UNPACK)
def test_each_part_of_a_stream_can_be_read_at_once(coding: str) -> None:
    """It is flushed; streams are compressed whatever their size."""

    async def body(port: TestPort) -> None:
        client = await port.connect()
        client.send(b"GET /x HTTP/1.1\r\nhost: a\r\naccept-encoding: %b\r\n\r\n" % coding.encode())
        status, headers = await client.head()
        assert (status, headers["content-encoding"]) == (200, coding)
        reader = _reader(coding)
        for number in range(3):
            assert reader(await client.chunk()) == b"part %d" % number
        while part := await client.chunk():
            assert reader(part) == b""

    run(stream, body)


def _reader(coding: str) -> Callable[[bytes], bytes]:
    if coding == "br":
        return brotli.Decompressor().process  # type: ignore[no-any-return]
    if coding == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress
    return zlib.decompressobj(31).decompress


def test_requests_behind_a_large_compressed_answer_are_answered_in_order() -> None:
    """It is sent in pieces of work, between which the next request may be read."""

    async def body(port: TestPort) -> None:
        client: RawClient = await port.connect()
        line = b"GET /x/json/%d HTTP/1.1\r\nhost: a\r\naccept-encoding: br\r\n\r\n"
        client.send(line % len(LARGE) + line % 5)
        first, second = await client.reply(), await client.reply()
        assert brotli.decompress(first.body) == LARGE
        assert second.body == LARGE[:5]

    run(answer, body)


def test_the_loop_is_free_while_a_large_answer_is_compressed() -> None:
    """Others have a turn after each piece of 64 kB."""

    async def body(port: TestPort) -> None:
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        client = await port.connect()
        client.send(
            b"GET /x/json/%d HTTP/1.1\r\nhost: a\r\naccept-encoding: br\r\n\r\n" % len(LARGE)
        )
        counting = asyncio.create_task(count())
        await client.reply()
        counting.cancel()
        assert turns > len(LARGE) // 65_536

    run(answer, body)


def test_the_loop_is_free_while_a_large_part_is_compressed() -> None:
    """A record may be far larger than a piece; its reader gets all of it."""
    turns = 0

    async def send(request: Request) -> None:
        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        request.exchange.start_stream(200, JSON)
        counting = asyncio.create_task(count())
        await request.exchange.send_part(LARGE)
        counting.cancel()
        request.exchange.end_stream()

    reply = ask("/x", b"accept-encoding: br\r\n", handler=send)
    assert brotli.decompress(reply.body) == LARGE
    assert turns >= len(LARGE) // 65_536


def test_compressed_bytes_are_counted() -> None:
    """Before and after, and what request bodies became."""

    async def body(port: TestPort) -> None:
        reply = await port.ask("GET", "/x/json/9000", b"accept-encoding: br\r\n")
        numbers = port.server.statistics()
        assert (numbers.uncompressed_bytes, numbers.compressed_bytes) == (9_000, len(reply.body))

    run(answer, body)


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize("coding", ["br", "gzip", "zstd", "deflate"])
def test_a_compressed_body_arrives_as_it_was(coding: str, size: int) -> None:
    """Handlers do not see that it was compressed, whether it comes at once or in parts."""
    content = Random(7).randbytes(size)
    packed = {
        "br": brotli.compress,
        "gzip": gzip.compress,
        "zstd": zstandard.compress,
        "deflate": zlib.compress,
    }[coding](content)
    head = f"content-encoding: {coding}\r\n".encode()
    assert ask("/x", head, method="PUT", body=packed, handler=echo).body == content


@pytest.mark.parametrize(
    ("coding", "content", "status"),
    [
        (b"gzip", gzip.compress(bytes(100_000_000), mtime=0), 413),
        (b"br", brotli.compress(bytes(5_000_000)), 413),
        (b"gzip", gzip.compress(b"x" * 100, mtime=0)[:-3], 400),
        (b"br", b"no brotli at all", 400),
        (b"compress", b"x", 415),
        (b"gzip, br", b"x", 415),
    ],
)
def test_a_wrong_compressed_body_never_reaches_a_handler(
    coding: bytes, content: bytes, status: int
) -> None:
    """Too large, broken, or in a coding that nobody here reads."""
    head = b"content-encoding: %b\r\n" % coding
    reply = ask("/x", head, method="PUT", body=content, handler=echo)
    assert reply.status == status
    if status == 415:
        assert reply.headers["accept-encoding"] == "br, gzip, zstd, deflate"
