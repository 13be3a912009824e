"""Upgrades to a protocol inside of a WebSocket: handshake, framer, end."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.frames import Frame
from websockets.frames import Opcode as TheirOpcode

from lyredb.errors import LoginRequired
from lyredb.protocols.http import Authentication, HttpServer, Request
from lyredb.protocols.http.upgrade import UpgradedTransport
from lyredb.security.authenticator import Account
from tests.protocols.http.harness import LOGIN, TestPort, running

AUTHORIZATION = {"Authorization": LOGIN.decode().split(": ")[1].strip()}


@dataclass
class Echo:
    """The connection inside: sends back what it gets, in one write per feed."""

    transport: UpgradedTransport
    account: Account | None
    fed: list[bytes] = field(default_factory=list)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    shut: bool = False

    def feed(self, data: bytes) -> None:
        self.fed.append(data)
        self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def shutdown(self) -> None:
        self.shut = True
        self.transport.close()


class Factory:
    """Makes `Echo`es and keeps them."""

    def __init__(self) -> None:
        self.made: list[Echo] = []

    def __call__(
        self, transport: UpgradedTransport, request: Request, account: Account | None
    ) -> Echo:
        echo = Echo(transport, account)
        self.made.append(echo)
        return echo

    def prepare(self, server: HttpServer, users: Authentication) -> None:
        server.upgrade("mqtt", self)


def open_socket(port: TestPort, headers: dict[str, str] | None = None) -> connect:
    url = f"ws://127.0.0.1:{port.server.address.port}/any/path"
    return connect(
        url,
        subprotocols=["mqtt"],  # type: ignore[list-item]  # a NewType of theirs
        additional_headers=headers,
        compression=None,
    )


async def echoed(socket: ClientConnection, data: bytes) -> bytes:
    await socket.send(data)
    async with asyncio.timeout(10):
        reply = await socket.recv()
    assert isinstance(reply, bytes)
    return reply


def test_bytes_go_both_ways_whatever_their_frames() -> None:
    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare) as port, open_socket(port) as socket:
            assert socket.subprotocol == "mqtt"
            for data in (b"x", b"y" * 200, b"z" * 100_000):
                assert await echoed(socket, data) == data
            await socket.send([b"a", b"b", b"c"])
            assert b"".join([await socket.recv()])  # type: ignore[list-item]  # bytes
            await (await socket.ping())
            assert factory.made[0].account is None

    asyncio.run(body())


def test_login_of_the_request_is_the_account() -> None:
    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare) as port:
            async with open_socket(port, AUTHORIZATION) as socket:
                await echoed(socket, b"x")
            account = factory.made[0].account
            assert account is not None
            assert account.name == "admin"

    asyncio.run(body())


def test_wrong_login_and_foreign_pages_are_refused_before_the_upgrade() -> None:
    async def refused(port: TestPort, headers: dict[str, str]) -> int:
        try:
            async with open_socket(port, headers):
                return 101
        except InvalidStatus as error:
            return error.response.status_code

    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare, authorize_local=True) as port:
            assert await refused(port, {"Authorization": "Basic eDp5"}) == 401
            assert await refused(port, {"Authorization": "Basic *"}) == 400
            assert await refused(port, {"Origin": "http://evil.example"}) == 403
            assert not factory.made

    asyncio.run(body())


def test_rebound_name_cannot_use_the_local_rule() -> None:
    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare, authorize_local=True) as port:
            client = await port.connect()
            client.send(
                b"GET /mqtt HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\n"
                b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
                b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                b"sec-websocket-protocol: mqtt\r\n\r\n"
            )
            assert (await client.reply()).status == 401
            assert not factory.made

    asyncio.run(body())


KEY = b"sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
VERSION = b"sec-websocket-version: 13\r\n"
MQTT = b"sec-websocket-protocol: mqtt\r\n"


def handshake(lines: bytes, *, method: bytes = b"GET") -> bytes:
    head = b" /x HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    return method + head + lines + b"\r\n"


@pytest.mark.parametrize("more", [b"", MQTT], ids=["plain", "mqtt"])
def test_malformed_handshake_is_an_error_in_our_form(more: bytes) -> None:
    """Whichever protocol it is for, clients and people read one kind of answer."""

    async def body() -> None:
        factory = Factory()
        async with running(refuse, prepare=factory.prepare) as port:
            for method, lines, status in (
                (b"GET", VERSION + b"sec-websocket-key: short\r\n", 400),
                (b"GET", VERSION, 400),
                (b"GET", VERSION + KEY + KEY, 400),
                (b"POST", VERSION + KEY, 400),
                (b"GET", VERSION + KEY + b"content-length: 6\r\n", 400),
                (b"GET", VERSION + KEY + b"transfer-encoding: chunked\r\n", 400),
                (b"GET", b"sec-websocket-version: 12\r\n" + KEY, 426),
                (b"GET", KEY, 426),
                (b"GET", VERSION + VERSION + KEY, 426),
            ):
                client = await port.connect()
                client.send(handshake(lines + more, method=method))
                reply = await client.reply()
                assert reply.status == status, lines
                assert reply.headers["content-type"] == "application/json"
                assert reply.headers["x-content-type-options"] == "nosniff"
                assert json.loads(reply.body).startswith("InvalidHeader: "), reply.body
                if status == 426:
                    assert reply.headers["sec-websocket-version"] == "13"
                assert await client.at_end()

    asyncio.run(body())


@pytest.mark.parametrize("more", [b"", MQTT], ids=["plain", "mqtt"])
def test_http_1_0_is_not_upgraded(more: bytes) -> None:
    """RFC 9110 §7.8. Between us and such a client may be a proxy that does not know."""

    async def body() -> None:
        factory = Factory()
        async with running(refuse, prepare=factory.prepare) as port:
            client = await port.connect()
            client.send(handshake(VERSION + KEY + more).replace(b"HTTP/1.1", b"HTTP/1.0"))
            assert (await client.reply()).status == 400
            assert await client.at_end()

    asyncio.run(body())


async def refuse(request: Request) -> None:
    raise LoginRequired("Must login")


async def accept(request: Request) -> None:
    await request.receive()
    await asyncio.sleep(0)  # such as a login
    await request.send({"type": "websocket.accept"})
    said = await request.receive()
    await request.send({"type": "websocket.send", "bytes": said["bytes"]})
    assert (await request.receive())["type"] == "websocket.disconnect"


def test_handshake_may_be_as_large_as_any_request() -> None:
    """The library's own limits, 8 kB a line and 128 headers, made it hang without a word."""

    async def tell(request: Request) -> None:
        values = sum(map(len, request.headers.values()))
        raise LoginRequired(f"{request.path} {len(request.query)} {values > 200}")

    async def body() -> None:
        async with running(tell) as port:
            for lines, query in (
                (b"c: %b\r\n" % (b"y" * 9_000), b""),
                (b"c: y\r\n" * 200, b""),
                (b"c: %b\r\n" % (b"y" * 300), b"?" + b"q" * 9_000),
            ):
                client = await port.connect()
                request = handshake(VERSION + KEY + lines).replace(b" /x ", b" /x%b " % query)
                client.send(request)
                told = json.loads((await client.reply()).body)
                assert told == f"LoginRequired: x {max(0, len(query) - 1)} True"

    asyncio.run(body())


def test_refused_handshake_has_the_headers_of_every_answer() -> None:
    async def body() -> None:
        async with running(refuse) as port:
            client = await port.connect()
            client.send(handshake(VERSION + KEY))
            reply = await client.reply()
            assert reply.status == 401
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert reply.headers["referrer-policy"] == "no-referrer"

    asyncio.run(body())


@pytest.mark.parametrize("more", [b"", MQTT], ids=["plain", "mqtt"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_frames_that_come_with_the_handshake_are_not_lost(more: bytes, pieces: int) -> None:
    """Impatient clients send before they have read the answer (TCP does not keep pieces)."""

    async def body() -> None:
        factory = Factory()
        async with running(accept, prepare=factory.prepare) as port:
            client = await port.connect()
            early = Frame(TheirOpcode.BINARY, b"early").serialize(mask=True)
            whole = handshake(VERSION + KEY + more)
            if pieces == 1:
                client.send(whole + early)
            else:
                client.send(whole + early[:3])
                await asyncio.sleep(0)
                client.send(early[3:])
            assert (await client.head())[0] == 101
            async with asyncio.timeout(5):
                assert await client.reader.readexactly(7) == b"\x82\x05early"
                client.send(Frame(TheirOpcode.CLOSE, b"\x03\xe8").serialize(mask=True))
                assert await client.reader.read() == b"\x88\x02\x03\xe8"

    asyncio.run(body())


def test_text_frames_close_with_1003() -> None:
    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare) as port, open_socket(port) as socket:
            await socket.send("text")
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1003
            async with asyncio.timeout(5):
                await factory.made[0].lost.wait()

    asyncio.run(body())


def test_frames_before_a_violation_are_passed_on() -> None:
    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare) as port, open_socket(port) as socket:
            good = Frame(TheirOpcode.BINARY, b"good").serialize(mask=True)
            socket.transport.write(good + b"\xff\x80\0\0\0\0")
            assert await socket.recv() == b"good"
            async with asyncio.timeout(5):
                await factory.made[0].lost.wait()
            assert factory.made[0].fed == [b"good"]

    asyncio.run(body())


def test_close_of_the_client_ends_the_connection_inside() -> None:
    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare) as port:
            async with open_socket(port) as socket:
                await echoed(socket, b"x")
            async with asyncio.timeout(5):
                await factory.made[0].lost.wait()
            assert socket.close_code == 1000

    asyncio.run(body())


def test_stop_lets_the_connection_say_goodbye() -> None:
    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare) as port, open_socket(port) as socket:
            await echoed(socket, b"x")
            async with asyncio.timeout(4):
                await port.server.stop(3.0)
            assert factory.made[0].shut
            assert factory.made[0].lost.is_set()

    asyncio.run(body())


def test_paused_reading_holds_frames_back() -> None:
    async def body() -> None:
        factory = Factory()
        async with running(prepare=factory.prepare) as port, open_socket(port) as socket:
            await echoed(socket, b"x")
            inside = factory.made[0]
            inside.transport.pause_reading()
            inside.transport.pause_reading()
            await socket.send(b"later")
            await asyncio.sleep(0.05)
            assert inside.fed == [b"x"]
            inside.transport.resume_reading()
            assert await socket.recv() == b"later"

    asyncio.run(body())
