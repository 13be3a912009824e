"""The HTTP port over TLS: its limits hold, and what is refused is read by the peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from lyredb.protocols.http import HttpLimits, HttpServer, Request, bind_socket
from lyredb.protocols.net import Admission, AdmissionLimits, Network
from tests.protocols.http.harness import DEADLINE_S, RawClient, TestPort, running
from tests.protocols.net.authority import client_context, write_server_files

Handler = Callable[[Request], Awaitable[None]]
HEAD = b"GET /x HTTP/1.1\r\nhost: localhost\r\n"


@dataclass
class SecurePort:
    port: TestPort

    async def connect(self) -> RawClient:
        address = self.port.server.addresses[1]
        assert address.scheme == "https"
        client = RawClient(
            *await asyncio.open_connection(
                address.host, address.port, ssl=client_context(), server_hostname="localhost"
            )
        )
        self.port.clients.append(client)
        return client


@asynccontextmanager
async def serving(
    folder: Path, handler: Handler | None = None, limits: HttpLimits | None = None
) -> AsyncIterator[SecurePort]:
    files = write_server_files(folder)
    network = Network(Admission(AdmissionLimits()), files=files)
    secure = [bind_socket("127.0.0.1", 0)]
    async with running(handler, limits=limits, network=network, secure=secure) as port:
        yield SecurePort(port)
    network.close()


def run(body: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_S * 2):
            await body()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("has_plain", [True, False])
def test_a_browser_keeps_to_tls_only_where_there_is_nothing_else(
    tmp_path: Path, has_plain: bool
) -> None:
    """It would turn the URLs of the plain port into ones that nobody answers."""

    async def body() -> None:
        files = write_server_files(tmp_path)
        network = Network(Admission(AdmissionLimits()), files=files)
        plain = [bind_socket("127.0.0.1", 0)] if has_plain else []
        secure = [bind_socket("127.0.0.1", 0)]
        server = HttpServer(plain, HttpLimits(), network=network, secure=secure)
        await server.start()
        address = server.addresses[-1]
        reader, writer = await asyncio.open_connection(
            address.host, address.port, ssl=client_context(), server_hostname="localhost"
        )
        reply = await RawClient(reader, writer).ask("GET", "/health")
        writer.close()
        await server.stop(1.0)
        network.close()
        assert ("strict-transport-security" in reply.headers) is not has_plain

    run(body)


def test_a_request_knows_that_it_came_over_tls(tmp_path: Path) -> None:
    async def handler(request: Request) -> None:
        request.respond(200, body=str(request.scope["scheme"]).encode())

    async def body() -> None:
        async with serving(tmp_path, handler) as secure:
            client = await secure.connect()
            for _ in range(2):
                assert (await client.ask("GET", "/x")).body == b"https"
            assert (await secure.port.ask("GET", "/x")).body == b"http"

    run(body)


def test_slow_headers_are_answered_with_408(tmp_path: Path) -> None:
    async def body() -> None:
        async with serving(tmp_path, limits=HttpLimits(headers_timeout_s=0.1)) as secure:
            client = await secure.connect()
            client.send(HEAD)
            assert (await client.reply()).status == 408
            assert await client.at_end()

    run(body)


def test_a_slow_body_is_answered_with_408(tmp_path: Path) -> None:
    async def handler(request: Request) -> None:
        await request.body(1_000)

    async def body() -> None:
        async with serving(tmp_path, handler, HttpLimits(body_timeout_s=0.1)) as secure:
            client = await secure.connect()
            client.send(HEAD.replace(b"GET", b"PUT") + b"content-length: 100\r\n\r\nx")
            assert (await client.reply()).status == 408

    run(body)


def test_a_refusal_is_read_though_the_body_was_not(tmp_path: Path) -> None:
    """A close with unread bytes would reset the connection and take the answer with it."""

    async def body() -> None:
        async with serving(tmp_path, limits=HttpLimits(max_body_bytes=1_000)) as secure:
            client = await secure.connect()
            client.send(HEAD.replace(b"GET", b"PUT") + b"content-length: 2000000\r\n\r\n")
            client.send(b"x" * 2_000_000)
            assert (await client.reply()).status == 413
            assert await client.at_end()

    run(body)


def test_who_reads_nothing_is_cut_off(tmp_path: Path) -> None:
    """Bytes that are encrypted already count as waiting."""
    gone = asyncio.Event()

    async def handler(request: Request) -> None:
        request.connection.guard.gone = gone.set
        request.respond(200, body=b"x" * 20_000_000)

    async def body() -> None:
        async with serving(tmp_path, handler, HttpLimits(body_timeout_s=0.2)) as secure:
            client = await secure.connect()
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # it has it
            client.send(HEAD + b"\r\n")
            async with asyncio.timeout(DEADLINE_S):
                await gone.wait()

    run(body)


def test_a_large_answer_comes_whole(tmp_path: Path) -> None:
    content = bytes(range(256)) * 20_000

    async def handler(request: Request) -> None:
        request.respond(200, body=content)

    async def body() -> None:
        async with serving(tmp_path, handler) as secure:
            client = await secure.connect()
            assert (await client.ask("GET", "/x")).body == content

    run(body)


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_stop_ends_connections_that_have_nothing_to_do(tmp_path: Path, is_whole: bool) -> None:
    """Also those that have only begun to say hello."""

    async def body() -> None:
        async with serving(tmp_path) as secure:
            client = await secure.connect()
            if is_whole:
                assert (await client.ask("GET", "/health")).status == 200
            else:
                address = secure.port.server.addresses[1]
                client = RawClient(*await asyncio.open_connection(address.host, address.port))
                secure.port.clients.append(client)
                client.send(b"\x16\x03\x01")
            started = asyncio.get_running_loop().time()
            await secure.port.server.stop(2.0)
            assert asyncio.get_running_loop().time() - started < 1.9
            assert await client.at_end()

    run(body)
