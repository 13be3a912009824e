"""The guard: bounds on size and time, answered in plain HTTP and in order."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from lyredb.protocols.http import HttpLimits, Request, body_bound
from tests.protocols.http.harness import running


async def echo(request: Request) -> None:
    body = await request.body(1_000_000)
    request.respond(200, b"content-type: text/plain\r\n", request.path.encode() + b":" + body)


def test_answers_carry_security_headers_and_a_date() -> None:
    async def body() -> None:
        async with running(echo) as port:
            reply = await port.ask("GET", "/x/a")
            assert (reply.status, reply.body) == (200, b"x/a:")
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["referrer-policy"] == "no-referrer"
            assert "date" in reply.headers

    asyncio.run(body())


def test_access_log_is_written_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lyredb.http")

    async def body() -> None:
        async with running(echo) as port:
            await port.ask("GET", "/x/a")
            await port.ask("GET", "/nothing")

    asyncio.run(body())
    lines = [record.getMessage() for record in caplog.records if record.name == "lyredb.http"]
    assert [line.partition("GET ")[2] for line in lines] == ["/x/a 200", "/nothing 404"]


def test_pipelined_requests_are_answered_in_order() -> None:
    """The second request has no body to wait for and would otherwise overtake."""

    async def body() -> None:
        async with running(echo) as port:
            client = await port.connect()
            get = b"GET /x/%d HTTP/1.1\r\nhost: h\r\n\r\n"
            put = b"PUT /x/0 HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc"
            client.send(put + b"".join(get % number for number in range(1, 20)))
            bodies = [(await client.reply()).body for _ in range(20)]
            assert bodies == [b"x/0:abc", *(b"x/%d:" % number for number in range(1, 20))]

    asyncio.run(body())


def test_too_large_headers_get_431_in_one_chunk_or_many() -> None:
    async def body() -> None:
        async with running(echo, limits=HttpLimits(max_header_bytes=2_000)) as port:
            whole = await port.ask("GET", "/x", b"a: " + b"y" * 3_000 + b"\r\n")
            client = await port.connect()
            client.send(b"GET /x HTTP/1.1\r\nhost: h\r\na: ")
            for _ in range(40):
                client.send(b"y" * 100)
                await asyncio.sleep(0)
            trickled = await client.reply()
            assert (whole.status, trickled.status) == (431, 431)
            assert trickled.headers["connection"] == "close"
            assert await client.at_end()

    asyncio.run(body())


def test_a_body_and_headers_in_one_read_are_not_taken_for_large_headers() -> None:
    async def body() -> None:
        async with running(echo, limits=HttpLimits(max_header_bytes=1_024)) as port:
            client = await port.connect()
            put = b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: 9000\r\n\r\n" + b"z" * 9_000
            client.send(put + put + put)
            replies = [await client.reply() for _ in range(3)]
            assert [reply.status for reply in replies] == [200, 200, 200]

    asyncio.run(body())


def test_slow_headers_get_408() -> None:
    async def body() -> None:
        async with running(echo, limits=HttpLimits(headers_timeout_s=0.2)) as port:
            client = await port.connect()
            client.send(b"GET /x HTTP/1.1\r\nhost")
            reply = await client.reply()
            assert reply.status == 408
            assert json.loads(reply.body) == "Timeout: the headers took too long"
            assert await client.at_end()

    asyncio.run(body())


def test_slow_body_gets_408_and_its_handler_ends() -> None:
    ended = asyncio.Event()

    async def handler(request: Request) -> None:
        try:
            await request.body(1_000)
        finally:
            ended.set()

    async def body() -> None:
        async with running(handler, limits=HttpLimits(body_timeout_s=0.2)) as port:
            client = await port.connect()
            client.send(b"PUT /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc")
            assert (await client.reply()).status == 408
            async with asyncio.timeout(5):
                await ended.wait()
            announced = await port.connect()
            announced.send(b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nabc")
            assert (await announced.reply()).status == 408

    asyncio.run(body())


def test_idle_connection_is_closed_after_the_keep_alive_time() -> None:
    async def body() -> None:
        async with running(echo, limits=HttpLimits(keep_alive_s=0.2)) as port:
            client = await port.connect()
            assert (await client.ask("GET", "/x")).status == 200
            assert await client.at_end()

    asyncio.run(body())


def test_announced_large_body_gets_413_before_it_is_read() -> None:
    """No byte of the body is sent, so the answer cannot have waited for it."""

    async def body() -> None:
        async with running(echo, limits=HttpLimits(max_body_bytes=2_000)) as port:
            client = await port.connect()
            client.send(b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: 2001\r\n\r\n")
            reply = await client.reply()
            assert reply.status == 413
            assert json.loads(reply.body) == "BodyTooLarge: the body has more than 2000 bytes"

    asyncio.run(body())


def test_chunked_body_gets_413_when_it_grows_too_large() -> None:
    async def body() -> None:
        async with running(echo, limits=HttpLimits(max_body_bytes=2_000)) as port:
            client = await port.connect()
            client.send(b"PUT /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(30):
                client.send(b"64\r\n" + b"q" * 100 + b"\r\n")
                await asyncio.sleep(0)
            assert (await client.reply()).status == 413
            assert await client.at_end()

    asyncio.run(body())


def test_a_body_in_very_many_chunks_gets_413(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each costs the same however small it is; a body of few large ones is taken."""
    monkeypatch.setattr(body_bound, "MAX_PARTS", 50)
    head = b"PUT /x HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"

    async def body() -> None:
        async with running(echo) as port:
            client = await port.connect()
            for status, chunks in ((200, 50), (200, 50), (413, 51)):
                client.send(head + b"1\r\nq\r\n" * chunks + b"0\r\n\r\n")
                assert (await client.reply()).status == status
            assert await client.at_end()

    asyncio.run(body())


def test_refusal_waits_for_the_answer_under_way() -> None:
    """Otherwise the 400 for the second request would be read as the first one's answer."""
    release = asyncio.Event()

    async def handler(request: Request) -> None:
        await release.wait()
        request.respond(200, b"", b"first")

    async def body() -> None:
        async with running(handler) as port:
            client = await port.connect()
            client.send(b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n")
            client.send(b"NONSENSE \x00\r\n\r\n")
            await asyncio.sleep(0.05)
            release.set()
            first, second = await client.reply(), await client.reply()
            assert (first.status, first.body, second.status) == (200, b"first", 400)

    asyncio.run(body())


def test_refused_body_waits_behind_the_answers_before_it() -> None:
    """A request that is queued, or not begun, is refused in its turn and only then."""
    release = asyncio.Event()

    async def handler(request: Request) -> None:
        if request.path == "x/slow":
            await release.wait()
        await echo(request)

    async def body() -> None:
        for large in (
            b"transfer-encoding: chunked\r\n\r\n" + b"64\r\n" + b"q" * 100 + b"\r\n" * 1,
            b"content-length: 9999\r\n\r\n",
        ):
            release.clear()
            async with running(handler, limits=HttpLimits(max_body_bytes=50)) as port:
                client = await port.connect()
                client.send(b"GET /x/slow HTTP/1.1\r\nhost: h\r\n\r\n")
                client.send(b"GET /x/next HTTP/1.1\r\nhost: h\r\n\r\n")
                client.send(b"PUT /x/large HTTP/1.1\r\nhost: h\r\n" + large)
                await asyncio.sleep(0.05)
                release.set()
                replies = [await client.reply() for _ in range(3)]
                assert [reply.status for reply in replies] == [200, 200, 413]
                assert [reply.body for reply in replies[:2]] == [b"x/slow:", b"x/next:"]

    asyncio.run(body())


def test_garbage_gets_400_and_the_server_goes_on() -> None:
    async def body() -> None:
        async with running(echo) as port:
            client = await port.connect()
            client.send(b"\x16\x03\x01\x02\x00" * 50)
            assert (await client.reply()).status == 400
            assert (await port.ask("GET", "/x")).status == 200

    asyncio.run(body())


def test_one_host_header_is_demanded() -> None:
    """RFC 9112 §3.2: none, or two, are 400."""

    async def body() -> None:
        async with running(echo) as port:
            for head in (b"", b"host: a\r\nhost: b\r\n"):
                client = await port.connect()
                client.send(b"GET /x HTTP/1.1\r\n" + head + b"\r\n")
                assert (await client.reply()).status == 400

    asyncio.run(body())


def test_path_that_is_not_utf8_gets_400() -> None:
    async def body() -> None:
        async with running(echo) as port:
            assert (await port.ask("GET", "/x/%ff")).status == 400
            assert (await port.ask("GET", "/x/%C3%A9")).body == "x/é:".encode()

    asyncio.run(body())


def test_connection_beyond_the_limit_gets_503() -> None:
    async def body() -> None:
        async with running(echo, limits=HttpLimits(max_connections=2)) as port:
            kept = [await port.connect(), await port.connect()]
            assert [(await one.ask("GET", "/x")).status for one in kept] == [200, 200]
            third = await port.connect()
            reply = await third.reply()
            assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            assert await third.at_end()

    asyncio.run(body())


def test_http_1_0_is_answered_and_closed() -> None:
    async def body() -> None:
        async with running(echo) as port:
            client = await port.connect()
            client.send(b"GET /x/old HTTP/1.0\r\n\r\n")
            reply = await client.reply()
            assert (reply.status, reply.body) == (200, b"x/old:")
            assert await client.at_end()

    asyncio.run(body())


def test_client_that_reads_nothing_is_cut_off() -> None:
    """It would hold its connection and what waits for it as long as it likes."""

    async def handler(request: Request) -> None:
        exchange = request.exchange
        exchange.start_stream(200, b"")
        while not exchange.disconnected:
            exchange.write_part(b"x" * 100_000)
            await exchange.drain()

    async def body() -> None:
        async with running(handler, limits=HttpLimits(body_timeout_s=0.2)) as port:
            client = await port.connect()
            client.send(b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n")
            await client.head()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a socket's
            async with asyncio.timeout(10):
                while port.server.connections:  # noqa: ASYNC110  # there is no event for it
                    await asyncio.sleep(0.02)

    asyncio.run(body())


def test_unknown_upgrade_goes_on_in_http_1_1() -> None:
    """Java's client offers h2c with its first request, whatever that is."""

    async def body() -> None:
        async with running(echo) as port:
            client = await port.connect()
            h2c = b"connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMA\r\n"
            assert (await client.ask("PUT", "/x/1", h2c, b"body")).body == b"x/1:body"
            assert (await client.ask("GET", "/x/2", h2c)).body == b"x/2:"
            assert (await client.ask("GET", "/x/3")).body == b"x/3:"

    asyncio.run(body())


def test_unread_body_does_not_become_a_request() -> None:
    """A handler that answers early leaves bytes of the body on the wire."""

    async def handler(request: Request) -> None:
        request.respond(401, b"", b"")

    async def body() -> None:
        async with running(handler) as port:
            client = await port.connect()
            client.send(b"PUT /x HTTP/1.1\r\nhost: h\r\ncontent-length: 90000\r\n\r\n")
            assert (await client.reply()).status == 401
            client.send(b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n")
            assert await client.at_end()

    asyncio.run(body())


def test_headers_that_trickle_are_refused_in_all_not_one_by_one() -> None:
    """One header a second must not hold a connection for as long as there are headers."""

    async def body() -> None:
        async with running(limits=HttpLimits(headers_timeout_s=0.3)) as port:
            client = await port.connect()
            client.send(b"GET /x HTTP/1.1\r\nhost: h\r\n")
            reply = asyncio.create_task(client.reply())
            while not reply.done():
                client.send(b"a: b\r\n")
                await asyncio.wait((reply,), timeout=0.05)
            assert (await reply).status == 408

    asyncio.run(body())


def test_stop_finishes_the_answer_in_flight() -> None:
    release, began = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        began.set()
        await release.wait()
        request.respond(200, b"", b"done")

    async def body() -> None:
        async with running(handler) as port:
            client = await port.connect()
            client.send(b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n")
            await began.wait()
            stopping = asyncio.create_task(port.server.stop(5.0))
            await asyncio.sleep(0.2)
            release.set()
            assert (await client.reply()).body == b"done"
            async with asyncio.timeout(5):
                await stopping
            assert await client.at_end()

    asyncio.run(body())


def test_stop_cuts_off_what_outlives_the_deadline() -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async def body() -> None:
        async with running(handler) as port:
            client = await port.connect()
            client.send(b"GET /x HTTP/1.1\r\nhost: h\r\n\r\n")
            await began.wait()
            async with asyncio.timeout(3):
                await port.server.stop(0.7)
            assert cancelled.is_set()

    asyncio.run(body())


def test_options_of_the_server_itself_are_204() -> None:
    """RFC 9110 §9.3.7: of ``*``; no other method has such a target."""

    async def body() -> None:
        async with running(echo) as port:
            reply = await port.ask("OPTIONS", "*")
            assert (reply.status, reply.body) == (204, b"")
            assert (await port.ask("GET", "*")).status == 400

    asyncio.run(body())
