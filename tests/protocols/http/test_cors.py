"""Pages of other origins: who may read, who may send what a browser keeps, and who may not."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from lyredb.errors import SettingError
from lyredb.plugins.settings import SettingValue
from lyredb.protocols.http import HttpServer, Request, bind_socket
from lyredb.protocols.http.cors import Cors
from lyredb.protocols.http.limits import HttpLimits
from lyredb.protocols.http.settings import HTTP_SETTINGS
from lyredb.server.settings import SettingsInForce
from tests.protocols.http.harness import RawClient, Reply, a_network, authentication

APP, KEPT, OTHER = "https://app.example.com", "https://own.example.com", "https://other.example.com"
PREFLIGHT = "access-control-request-method: PUT\r\n"


def cors_of(**changed: SettingValue) -> Cors | None:
    rows: Mapping[str, SettingValue] = {row.name: row.default for row in HTTP_SETTINGS}
    named = {name.replace("_", "."): value for name, value in changed.items()}
    return Cors.of(SettingsInForce(dict(rows) | named))


async def handler(request: Request) -> None:
    request.respond(200, b"content-type: text/plain\r\nvary: accept\r\n", b"secret")


def ask(
    cors: Cors | None, origin: str, *, method: str = "GET", path: str = "/x", more: str = ""
) -> Reply:
    async def body() -> Reply:
        server = HttpServer(
            [bind_socket("127.0.0.1", 0)],
            HttpLimits(),
            network=a_network(),
            authentication=authentication(),
            cors=cors,
        )
        server.mount("x", lambda request: request.path.startswith("x"), handler)
        await server.start()
        address = server.address
        client = RawClient(*await asyncio.open_connection(address.host, address.port))
        try:
            head = (f"origin: {origin}\r\n" if origin else "") + more
            return await client.ask(method, path, head.encode())
        finally:
            client.writer.close()
            await server.stop(1.0)

    return asyncio.run(body())


def test_a_listed_page_may_read() -> None:
    """The answer names it, and what it may read of the headers."""
    reply = ask(cors_of(http_corsAccessList=f"{OTHER}, {APP}"), APP)
    assert reply.headers["access-control-allow-origin"] == APP
    exposed = reply.headers["access-control-expose-headers"].split(", ")
    assert {"ETag", "Location", "Content-Range", "Accept-Ranges"} <= set(exposed)
    assert "access-control-allow-credentials" not in reply.headers


@pytest.mark.parametrize("origin", ["https://evil.example", f"{APP}.evil.example", "null", ""])
def test_no_other_page_may_read(origin: str) -> None:
    """Nor may a cache give it what it keeps: every answer depends on the origin."""
    reply = ask(cors_of(http_corsAccessList=APP), origin)
    assert reply.status == 200
    assert "access-control-allow-origin" not in reply.headers
    assert "origin" in reply.headers["vary"]


@pytest.mark.parametrize(
    "changed",
    [{}, {"http_corsAccessList": APP, "http_cors": False}, {"http_corsAccessList": " , "}],
)
def test_by_default_no_page_may_read(changed: dict[str, SettingValue]) -> None:
    """The list is empty, and the flag switches the list off."""
    assert cors_of(**changed) is None
    assert "access-control-allow-origin" not in ask(None, APP).headers


def test_errors_can_be_read_too() -> None:
    """Also those of what never reaches a handler; a page would only see that it failed."""
    cors = cors_of(http_corsAccessList=APP)
    for reply in (
        ask(cors, APP, path="/nothing"),
        ask(cors, APP, more="transfer-encoding: gzip, chunked\r\n", method="PUT"),
    ):
        assert reply.status in (400, 404)
        assert reply.headers["access-control-allow-origin"] == APP


def test_a_preflight_of_a_listed_page_is_answered_for_every_path() -> None:
    """Without credentials, which it never has; the request itself is decided by its own."""
    reply = ask(cors_of(http_corsAccessList=APP), APP, method="OPTIONS", more=PREFLIGHT)
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == APP
    assert "PUT" in reply.headers["access-control-allow-methods"]
    assert reply.headers["access-control-allow-headers"] == "Accept, Content-Type, Authorization"
    assert int(reply.headers["access-control-max-age"]) > 0


def test_a_preflight_of_another_page_is_allowed_nothing() -> None:
    """It reaches the handler as any OPTIONS does."""
    reply = ask(cors_of(http_corsAccessList=APP), OTHER, method="OPTIONS", more=PREFLIGHT)
    assert not [name for name in reply.headers if name.startswith("access-control")]


def test_credentials_are_for_pages_that_may_use_what_a_browser_keeps() -> None:
    """Being allowed to read is less: with a cookie a page reads whatever its visitor may."""
    cors = cors_of(http_corsAccessList=f"{APP}, {KEPT}", http_allowedOrigins=KEPT)
    assert ask(cors, KEPT).headers["access-control-allow-credentials"] == "true"
    assert "access-control-allow-credentials" not in ask(cors, APP).headers


def test_a_star_lets_all_read_and_nobody_use_a_cookie() -> None:
    """But those that are named for that."""
    cors = cors_of(http_corsAccessList="*", http_allowedOrigins=KEPT)
    reply = ask(cors, OTHER)
    assert reply.headers["access-control-allow-origin"] == OTHER
    assert "access-control-allow-credentials" not in reply.headers
    assert ask(cors, KEPT).headers["access-control-allow-credentials"] == "true"


def test_without_sessions_nobody_gets_credentials() -> None:
    """There is no cookie to send."""
    cors = cors_of(
        http_corsAccessList=KEPT, http_allowedOrigins=KEPT, authentication_enableSessions=False
    )
    assert "access-control-allow-credentials" not in ask(cors, KEPT).headers


def test_the_list_of_cookies_is_no_list_of_readers() -> None:
    """One list does not add to the other."""
    assert cors_of(http_allowedOrigins=KEPT) is None
    cors = cors_of(http_corsAccessList=APP, http_allowedOrigins=KEPT)
    assert "access-control-allow-origin" not in ask(cors, KEPT).headers


@pytest.mark.parametrize(
    "changed",
    [
        {"http_corsAccessList": "app.example.com"},
        {"http_corsAccessList": "https://a/b"},
        {"http_corsAccessList": APP, "http_corsAccessControlAllowHeaders": "a\r\nb: c"},
        {"http_corsAccessList": APP, "http_corsAccessControlAllowHeaders": ""},
    ],
)
def test_a_wrong_setting_is_refused_at_the_start(changed: dict[str, SettingValue]) -> None:
    """A typing error must not look like a closed door."""
    with pytest.raises(SettingError, match=r"http\.cors"):
        cors_of(**changed)
