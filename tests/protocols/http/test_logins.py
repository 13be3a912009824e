"""Tokens, cookies and origins on a real port, with users that are records of a real node."""

from __future__ import annotations

import asyncio
import json
import tempfile
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from lyredb.errors import SettingError
from lyredb.plugins.scope import Scope
from lyredb.protocols.http import Authentication, HttpServer, bind_socket
from lyredb.protocols.http.limits import HttpLimits
from lyredb.protocols.http.origins import Origins
from lyredb.protocols.net import Admission, AdmissionLimits, Network
from lyredb.protocols.rest.plugin import RestPlugin
from lyredb.protocols.sse.plugin import SsePlugin
from lyredb.protocols.websocket.plugin import WebSocketPlugin
from lyredb.resources.access_watch import watch_users
from lyredb.security.attempts import Attempts
from lyredb.security.authenticator import Authenticator
from lyredb.security.passwords import Passwords
from lyredb.security.rights import read_role
from lyredb.security.tokens import Tokens
from lyredb.security.users import User, Users
from lyredb.security.web_sessions import WebSessions
from lyredb.server.listening import Listeners
from lyredb.server.node import Node
from lyredb.server.reload import Reload
from lyredb.tables.sdl import parse_sdl
from tests.protocols.http.harness import DEADLINE_S, RawClient, Reply, TestPort
from tests.protocols.node import settings_of

OWN = b"origin: http://localhost\r\n"
FOREIGN = b"origin: http://evil.example\r\n"
ALLOWED = b"origin: https://app.example\r\nsec-fetch-site: cross-site\r\n"
BODY = b'{"username":"ada","password":"secret"}'
JSON = b"content-type: application/json\r\n"
READER = {"data": {"Sensor": {"read": True}}}
UPGRADE = (
    b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)


def basic(name: str, password: str = "secret") -> bytes:
    return b"authorization: Basic " + b64encode(f"{name}:{password}".encode()) + b"\r\n"


@dataclass
class Place(TestPort):
    """A port, its node and its users."""

    __test__ = False
    node: Node = None  # type: ignore[assignment]  # always given
    users: Users = None  # type: ignore[assignment]  # always given

    async def call(self, method: str, path: str, head: bytes = b"", body: bytes = b"") -> Reply:
        client = await self.connect()
        return await client.ask(method, path, head, body)

    async def log_in(self, head: bytes = b"") -> bytes:
        """Log in as a browser does and return the Cookie header."""
        reply = await self.call("POST", "/$session", JSON + OWN + head, BODY)
        assert reply.status == 200, reply
        pair = reply.headers["set-cookie"].partition(";")[0]
        return b"cookie: theme=dark; " + pair.encode() + b"\r\n"

    async def token(self, **fields: str) -> dict[str, Any]:
        body = json.dumps(fields or {"username": "ada", "password": "secret"}).encode()
        reply = await self.call("POST", "/$token", JSON, body)
        assert reply.status == 200, reply
        found: dict[str, Any] = json.loads(reply.body)
        return found


@asynccontextmanager
async def place(*, secure_cookies: bool = False) -> AsyncIterator[Place]:
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    plugins: list[Any] = [RestPlugin(), SsePlugin(), WebSocketPlugin()]
    with tempfile.TemporaryDirectory() as folder:
        schema = parse_sdl("type Sensor @table @export { id: ID @primaryKey v: Int }")
        node = Node.open(Path(folder), schema)
        users = Users(node.engine, node.writer)
        await node.roles.put(read_role("reader", READER))
        for name, role in (("root", "super_user"), ("ada", "super_user"), ("eve", "reader")):
            await users.put(User(name, hasher.hash("secret"), role))
        authenticator = Authenticator(users, Passwords(hasher), attempts=Attempts())
        watch_users(node.tail, authenticator, node.database)
        login = Authentication(
            authenticator,
            authorize_local=False,
            sessions=WebSessions(node.engine, node.writer),
            tokens=Tokens(b"k" * 64, users),
            origins=Origins.of("https://app.example"),
            secure_cookies=secure_cookies,
        )
        network = Network(Admission(AdmissionLimits()))
        server = HttpServer(
            [bind_socket("127.0.0.1", 0)], HttpLimits(), network=network, authentication=login
        )
        in_force = settings_of(plugins, {})
        scope: Scope[Any, Any] = Scope(
            settings=in_force,
            resources=node.database,
            authenticator=authenticator,
            http=server,
            host="127.0.0.1",
            listeners=Listeners(in_force, []),
            network=network,
            on_reload=Reload(),
            calls=node.calls,
            authorize_local=False,
        )
        for plugin in plugins:
            plugin.prepare(scope)
        await server.start()
        for plugin in plugins:
            await plugin.start()
        found = Place(server, node=node, users=users)
        try:
            yield found
        finally:
            for client in found.clients:
                client.writer.close()
            for plugin in plugins:
                await plugin.stop(1.0)
            await server.stop(1.0)
            await authenticator.close()
            await node.close()


def run(body: Callable[[Place], Awaitable[None]], *, secure_cookies: bool = False) -> None:
    async def live() -> None:
        async with place(secure_cookies=secure_cookies) as found:
            await body(found)

    asyncio.run(live())


async def first_line(client: RawClient) -> bytes:
    async with asyncio.timeout(DEADLINE_S):
        return await client.reader.readline()


def test_a_cookie_is_for_scripts_nobody_and_for_other_sites_not() -> None:
    async def body(at: Place) -> None:
        reply = await at.call("POST", "/$session", JSON + OWN, BODY)
        assert json.loads(reply.body) == {"user": "ada", "role": "super_user", "superUser": True}
        assert reply.headers["cache-control"] == "no-store"
        cookie = reply.headers["set-cookie"]
        assert cookie.startswith("lyredb-session=")
        assert cookie.endswith("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax")

    run(body)


def test_a_cookie_for_tls_has_a_name_that_plain_pages_cannot_plant() -> None:
    async def body(at: Place) -> None:
        reply = await at.call("POST", "/$session", JSON + OWN, BODY)
        cookie = reply.headers["set-cookie"]
        assert cookie.startswith("__Host-lyredb-session=")
        assert cookie.endswith("; Secure")
        plain = cookie.partition(";")[0].removeprefix("__Host-").encode()
        who = await at.call("GET", "/$session", b"cookie: " + plain + b"\r\n")
        assert json.loads(who.body)["user"] is None

    run(body, secure_cookies=True)


def test_a_session_is_told_used_and_ended() -> None:
    async def body(at: Place) -> None:
        cookie = await at.log_in()
        who = await at.call("GET", "/$session", cookie)
        assert json.loads(who.body)["user"] == "ada"
        assert (await at.call("PUT", "/Sensor/a", cookie + OWN + JSON, b'{"v":1}')).status == 204
        ended = await at.call("DELETE", "/$session", cookie + OWN)
        assert (ended.status, "Max-Age=0" in ended.headers["set-cookie"]) == (204, True)
        assert (await at.call("GET", "/Sensor/a", cookie)).status == 401
        assert json.loads((await at.call("GET", "/$session", cookie)).body) == {
            "user": None,
            "role": "anonymous",
            "superUser": False,
        }

    run(body)


def test_a_login_can_come_from_a_plain_form() -> None:
    async def body(at: Place) -> None:
        head = b"content-type: application/x-www-form-urlencoded\r\n" + OWN
        reply = await at.call("POST", "/$session", head, b"username=ada&password=secret")
        assert reply.status == 200

    run(body)


def test_a_new_login_ends_the_session_before_it() -> None:
    """A secret that somebody has planted or seen is worth nothing afterwards."""

    async def body(at: Place) -> None:
        first = await at.log_in()
        second = await at.log_in(first)
        assert first != second
        assert json.loads((await at.call("GET", "/$session", first)).body)["user"] is None
        assert json.loads((await at.call("GET", "/$session", second)).body)["user"] == "ada"

    run(body)


@pytest.mark.parametrize("path", ["/$session", "/$token"])
def test_what_a_login_gave_makes_no_further_login(path: str) -> None:
    """A stolen token would live on as a cookie, and scripts would get tokens of a cookie
    that they cannot read; a password in the header, or in the body, makes either."""

    async def ask(at: Place) -> None:
        token = b"authorization: Bearer " + (await at.token())["access_token"].encode() + b"\r\n"
        cookie = await at.log_in()
        for given in (token, cookie):
            reply = await at.call("POST", path, given + OWN)
            assert reply.status == 401
            assert "set-cookie" not in reply.headers
            assert b"access_token" not in reply.body
            assert (await at.call("POST", path, given + OWN + JSON, BODY)).status == 200
        assert (await at.call("POST", path, basic("ada") + OWN)).status == 200

    run(ask)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"username":"ada","password":"wrong"}', 401),
        (b'{"username":"ada"}', 400),
        (b'{"username":"ada","password":7}', 400),
        (b"[]", 400),
        (b"", 401),
        (b" " * 20_000, 413),
    ],
)
@pytest.mark.parametrize("path", ["/$session", "/$token"])
def test_what_is_no_login_gives_no_cookie_and_no_token(path: str, body: bytes, status: int) -> None:
    async def ask(at: Place) -> None:
        reply = await at.call("POST", path, JSON + OWN, body)
        assert reply.status == status
        assert "set-cookie" not in reply.headers
        assert b"access_token" not in reply.body

    run(ask)


def test_guessing_is_slowed_down_and_told_when_to_try_again() -> None:
    async def body(at: Place) -> None:
        wrong = b'{"username":"ada","password":"wrong"}'
        replies = [await at.call("POST", "/$session", JSON + OWN, wrong) for _ in range(7)]
        assert [reply.status for reply in replies[:5]] == [401] * 5
        assert replies[-1].status == 429
        assert int(replies[-1].headers["retry-after"]) >= 1
        refused = await at.call("GET", "/Sensor/", basic("ada"))
        assert refused.status == 429, "the right password too: it may have been guessed"

    run(body)


def test_an_address_that_has_to_wait_is_not_answered_from_memory() -> None:
    """Each of its guesses would be told from the right password, at any speed."""

    async def body(at: Place) -> None:
        async def guess(password: str) -> int:
            address = at.server.address
            client = RawClient(
                *await asyncio.open_connection(
                    address.host, address.port, local_addr=("127.0.0.2", 0)
                )
            )
            at.clients.append(client)
            return (await client.ask("GET", "/Sensor/", basic("ada", password))).status

        for _ in range(2):  # the second is remembered by the header as it came
            assert (await at.call("GET", "/Sensor/", basic("ada"))).status == 200
        assert [await guess(f"guess {number}") for number in range(6)] == [401] * 5 + [429]
        assert await guess("secret") == 429
        assert (await at.call("GET", "/Sensor/", basic("ada"))).status == 200

    run(body)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (OWN, 204),
        (b"origin: http://localhost:80\r\n", 204),
        (b"sec-fetch-site: same-origin\r\n", 204),
        (ALLOWED, 204),
        (b"", 403),
        (FOREIGN, 403),
        (b"origin: null\r\n", 403),
        (b"sec-fetch-site: cross-site\r\n", 403),
        (b"sec-fetch-site: same-site\r\n", 403),
        (FOREIGN + b"sec-fetch-site: same-origin\r\n", 403),
    ],
)
def test_a_change_by_cookie_needs_an_origin_that_may(origin: bytes, expected: int) -> None:
    async def body(at: Place) -> None:
        cookie = await at.log_in()
        reply = await at.call("PUT", "/Sensor/a", cookie + origin + JSON, b'{"v":1}')
        assert reply.status == expected

    run(body)


def test_programs_without_an_origin_write_by_password_and_token() -> None:
    async def body(at: Place) -> None:
        token = b"authorization: Bearer " + (await at.token())["access_token"].encode() + b"\r\n"
        assert (await at.call("PUT", "/Sensor/a", basic("ada") + JSON, b'{"v":1}')).status == 204
        assert (await at.call("PUT", "/Sensor/a", token + JSON, b'{"v":2}')).status == 204
        # No page can send a token that it does not know: where it comes from is all the same.
        assert (await at.call("PUT", "/Sensor/b", token + FOREIGN + JSON, b"{}")).status == 204
        assert (
            await at.call("PUT", "/Sensor/c", basic("ada") + FOREIGN + JSON, b"{}")
        ).status == 403

    run(body)


def test_a_foreign_page_cannot_log_a_browser_in_or_out() -> None:
    """As somebody else, or the visitor would write into the attacker's account."""

    async def body(at: Place) -> None:
        assert (await at.call("POST", "/$session", JSON + FOREIGN, BODY)).status != 200
        cookie = await at.log_in()
        await at.call("DELETE", "/$session", cookie + FOREIGN)
        assert json.loads((await at.call("GET", "/$session", cookie)).body)["user"] == "ada"

    run(body)


def test_an_event_source_comes_in_by_cookie() -> None:
    """Browsers send it no Origin on our own pages."""

    async def body(at: Place) -> None:
        cookie = await at.log_in()
        client = await at.connect()
        client.send(b"GET /Sensor/ HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n")
        client.send(cookie + b"\r\n")
        assert (await client.head())[0] == 200
        foreign = await at.call(
            "GET", "/Sensor/", cookie + FOREIGN + b"accept: text/event-stream\r\n"
        )
        assert foreign.status == 403

    run(body)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [(OWN, b"101"), (ALLOWED, b"101"), (FOREIGN, b"403"), (b"", b"403")],
)
def test_a_browser_web_socket_comes_in_by_cookie_from_pages_that_may(
    origin: bytes, expected: bytes
) -> None:
    async def body(at: Place) -> None:
        cookie = await at.log_in()
        client = await at.connect()
        client.send(b"GET /Sensor/ HTTP/1.1\r\nhost: localhost\r\n" + UPGRADE + cookie + origin)
        client.send(b"\r\n")
        assert (await first_line(client)).split()[1] == expected

    run(body)


def test_a_web_socket_of_a_user_with_a_long_name_is_closed_with_the_code() -> None:
    """The reason has the name in it, and a close frame no room for it."""
    name = "é" * 120

    async def body(at: Place) -> None:
        ada = at.users.find("ada")
        assert ada is not None
        await at.users.put(User(name, ada.password, "reader"))
        headers = {"Authorization": basic(name).decode().split(": ")[1].strip()}
        url = f"ws://127.0.0.1:{at.server.address.port}/Sensor/"
        async with connect(url, additional_headers=headers) as socket:
            await socket.recv()
            await at.users.update(name, active=False)
            with pytest.raises(ConnectionClosed) as closed:
                async with asyncio.timeout(DEADLINE_S):
                    await socket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 3000
        assert closed.value.rcvd.reason.startswith("Must login again: the user éé")

    run(body)


@pytest.mark.parametrize("way", ["basic", "bearer", "cookie"])
def test_a_stream_ends_when_its_login_is_void(way: str) -> None:
    async def body(at: Place) -> None:
        token = (await at.token())["access_token"].encode()
        heads = {
            "basic": basic("ada"),
            "bearer": b"authorization: Bearer " + token + b"\r\n",
            "cookie": await at.log_in(),
        }
        head = b"accept: text/event-stream\r\n" + heads[way]
        client = await at.connect()
        client.send(b"GET /Sensor/ HTTP/1.1\r\nhost: localhost\r\n" + head + b"\r\n")
        assert (await client.head())[0] == 200
        await at.users.update("ada", active=False)
        async with asyncio.timeout(DEADLINE_S):
            while await client.chunk():
                continue
        assert await client.at_end()
        assert (await at.call("GET", "/Sensor/", heads[way])).status == 401

    run(body)


def test_a_token_pair_is_made_used_and_renewed() -> None:
    async def body(at: Place) -> None:
        pair = await at.token()
        assert (pair["token_type"], pair["expires_in"]) == ("Bearer", 86_400)
        renewed = await at.token(refresh_token=pair["refresh_token"])
        assert renewed["refresh_token"] == pair["refresh_token"]
        head = b"authorization: bearer " + renewed["access_token"].encode() + b"\r\n"
        assert json.loads((await at.call("GET", "/$session", head)).body)["user"] == "ada"

    run(body)


def test_an_access_token_makes_no_further_ones() -> None:
    """Else who has found one has it for ever."""

    async def body(at: Place) -> None:
        access = (await at.token())["access_token"]
        head = b"authorization: Bearer " + access.encode() + b"\r\n"
        assert (await at.call("POST", "/$token", head)).status == 401
        fields = json.dumps({"refresh_token": access}).encode()
        assert (await at.call("POST", "/$token", JSON, fields)).status == 401

    run(body)


def test_a_new_password_voids_tokens_and_cookies() -> None:
    async def body(at: Place) -> None:
        pair, cookie = await at.token(), await at.log_in()
        token = b"authorization: Bearer " + pair["access_token"].encode() + b"\r\n"
        hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("new")
        await at.users.update("ada", password=hashed)
        assert (await at.call("GET", "/Sensor/", token)).status == 401
        assert (await at.call("GET", "/Sensor/", cookie)).status == 401
        fields = json.dumps({"refresh_token": pair["refresh_token"]}).encode()
        assert (await at.call("POST", "/$token", JSON, fields)).status == 401

    run(body)


def test_a_refusal_says_how_to_log_in_as_the_client_can() -> None:
    """A page that knows cookies shall not see the browser's own dialog."""

    async def body(at: Place) -> None:
        nobody = await at.call("GET", "/Sensor/")
        assert nobody.headers["www-authenticate"].startswith("Basic ")
        void = await at.call("GET", "/Sensor/", b"cookie: lyredb-session=gone\r\n")
        assert void.headers["www-authenticate"] == 'Bearer realm="LyreDB"'
        token = await at.call("GET", "/Sensor/", b"authorization: Bearer a.b.c\r\n")
        assert token.status == 401
        assert token.headers["www-authenticate"].endswith('error="invalid_token"')

    run(body)


def test_the_first_credentials_decide_and_wrong_ones_are_not_passed_over() -> None:
    async def body(at: Place) -> None:
        cookie = await at.log_in()
        who = await at.call("GET", "/$session", cookie + basic("eve"))
        assert json.loads(who.body)["user"] == "eve"
        assert (await at.call("GET", "/$session", cookie + basic("eve", "no"))).status == 401

    run(body)


def test_anonymous_reads_where_its_role_may_and_logs_in_elsewhere() -> None:
    async def body(at: Place) -> None:
        await at.node.roles.put(read_role("anonymous", READER))
        assert (await at.call("GET", "/Sensor/")).status == 200
        assert (await at.call("PUT", "/Sensor/a", JSON, b"{}")).status == 401
        assert (await at.call("PUT", "/Sensor/a", basic("eve") + JSON, b"{}")).status == 403

    run(body)


@pytest.mark.parametrize("path", ["/$session", "/%24session"])
def test_methods_that_are_none_are_named(path: str) -> None:
    async def body(at: Place) -> None:
        reply = await at.call("PUT", path)
        assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, POST, DELETE")
        assert (await at.call("GET", "/$token")).headers["allow"] == "POST"

    run(body)


@pytest.mark.parametrize(
    "text", ["app.example", "https://app.example/", "*", "ftp://a", "https://a b", "https://"]
)
def test_an_allowed_origin_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="allowedOrigins"):
        Origins.of(f"https://ok.example, {text}")
