"""Who a request is from: Basic, and loopback in ``lyredb dev``."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode

import pytest

from lyredb.plugins.network import Peer
from lyredb.protocols.http import Authentication, HttpServer, Request
from lyredb.protocols.http.request import PEER
from lyredb.protocols.rest.plugin import RestPlugin
from tests.protocols.http.harness import LOGIN, FakeAuthenticator, TestPort, running
from tests.protocols.node import serving


async def unused(*_: object) -> None:
    raise AssertionError("nothing is received or sent")


def mount_whoami(server: HttpServer, users: Authentication) -> None:
    async def whoami(request: Request) -> None:
        account = await users.authenticate(request)
        request.respond(200, b"", account.name.encode() or b"nobody")

    server.mount("whoami", lambda request: request.path == "who", whoami)


async def ask(port: TestPort, head: bytes, host: bytes = b"localhost:1234") -> str:
    client = await port.connect()
    client.send(b"GET /who HTTP/1.1\r\nhost: " + host + b"\r\n" + head + b"\r\n")
    reply = await client.reply()
    return reply.body.decode() if reply.status == 200 else str(reply.status)


async def who(head: bytes, *, authorize_local: bool) -> str:
    async with running(prepare=mount_whoami, authorize_local=authorize_local) as port:
        return await ask(port, head)


def test_basic_is_checked_once_and_then_remembered() -> None:
    assert asyncio.run(who(LOGIN, authorize_local=False)) == "admin"


def test_only_the_usual_form_of_a_header_is_noted() -> None:
    """A user who varies its header must not push others out of what is remembered."""
    fake = FakeAuthenticator()
    users = Authentication(fake, authorize_local=False)  # type: ignore[arg-type]
    pair = b64encode(b"admin:secret")

    async def body() -> None:
        async with running(prepare=lambda server, _: mount_whoami(server, users)) as port:
            for value in (b"Basic   " + pair, b"basic " + pair, b"BASIC " + pair):
                for _ in range(2):
                    assert await ask(port, b"authorization: " + value + b"\r\n") == "admin"
            assert fake.noted == []
            for _ in range(3):
                assert await ask(port, LOGIN) == "admin"
            assert (fake.noted, fake.checked) == ([b"Basic " + pair], 1)

    asyncio.run(body())


def test_wrong_and_unreadable_credentials_are_refused() -> None:
    async def body() -> None:
        async with running(prepare=mount_whoami) as port:
            for value, status in (
                (b"Basic " + b64encode(b"admin:wrong"), "401"),
                (b"Basic ***", "400"),
                (b"Basic " + b64encode(b"nocolon"), "400"),
                (b"Basic " + b64encode(b"\xff\xfe:x"), "400"),
                (b"Digest x", "400"),
            ):
                assert await ask(port, b"authorization: " + value + b"\r\n") == status, value

    asyncio.run(body())


def test_empty_name_and_password_count_as_none() -> None:
    head = b"authorization: Basic " + b64encode(b":") + b"\r\n"
    assert asyncio.run(who(head, authorize_local=False)) == "nobody"


def test_loopback_is_local_only_in_dev() -> None:
    assert asyncio.run(who(b"", authorize_local=True)) == "local"
    assert asyncio.run(who(b"", authorize_local=False)) == "nobody"


@pytest.mark.parametrize(
    ("peer", "name"),
    [
        ("127.0.0.1", "local"),
        ("127.9.8.7", "local"),
        ("::1", "local"),
        ("192.168.1.7", "nobody"),
        ("2001:db8::1", "nobody"),
        ("", "nobody"),
        ("localhost", "nobody"),
    ],
)
def test_local_is_who_comes_over_loopback(peer: str, name: str) -> None:
    """The last guard should a dev server ever listen on more: its Host can be forged."""
    users = Authentication(FakeAuthenticator(), authorize_local=True)  # type: ignore[arg-type]
    scope = {
        "type": "websocket",
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": (peer, 4711) if peer else None,
        PEER: Peer(peer),
    }
    account = users.quick(Request(scope, unused, unused))
    assert account is not None
    assert (account.name or "nobody") == name


def test_no_web_page_can_use_the_local_rule() -> None:
    """A rebound name has another Host; a foreign page has another Origin or site."""

    async def body() -> None:
        async with running(prepare=mount_whoami, authorize_local=True) as port:
            for host in (b"localhost", b"127.0.0.1:9926", b"[::1]:80", b"LOCALHOST:1"):
                assert await ask(port, b"", host) == "local", host
            foreign = b"evil.example", b"localhost.evil.example:80", b"[::2]", b"127.0.0.1.nip.io"
            for host in foreign:
                assert await ask(port, b"", host) == "nobody", host
            for head, expected in (
                (b"origin: http://localhost:1234\r\n", "local"),
                (b"origin: http://localhost:9999\r\n", "nobody"),
                (b"origin: null\r\n", "nobody"),
                (b"origin: http://evil.example\r\n", "nobody"),
                (b"sec-fetch-site: same-origin\r\n", "local"),
                (b"sec-fetch-site: none\r\n", "local"),
                (b"sec-fetch-site: same-site\r\n", "nobody"),
                (b"sec-fetch-site: cross-site\r\n", "nobody"),
                (b"x-forwarded-for: 10.0.0.1\r\n", "nobody"),
            ):
                assert await ask(port, head) == expected, head

    asyncio.run(body())


def test_refused_page_is_told_why() -> None:
    async def body() -> None:
        async with serving(RestPlugin(), authorize_local=True) as node:
            head = b"origin: http://evil.example\r\n"
            reply = await node.call("GET", "/Sensor/", head=head, login=b"")
            assert reply.status == 401
            sentence = json.loads(reply.body)
            assert sentence.startswith("LoginRequired: Must login: a page of another origin")
            assert (await node.call("GET", "/Sensor/", login=b"")).status == 200

    asyncio.run(body())
