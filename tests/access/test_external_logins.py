"""Tokens of an issuer as MQTT password and as Bearer, in a whole worker, until they end."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import jwt
import pytest

from lyredb.errors import SettingError
from lyredb.security.rights import read_role
from lyredb.server.external_logins import FreshKeys, require_safe
from tests.access.readers import SUBACK, Mqtt
from tests.access.world import DEADLINE_S, PASSWORD, World, until, world
from tests.protocols.mqtt import client_frames as frames
from tests.security.test_issued_tokens import EC, RSA, jwk

SECRET: Final = "0123456789abcdef0123456789abcdef"


def token(name: str = "dev-7", **claims: object) -> str:
    return jwt.encode({"sub": name, **claims}, SECRET.encode(), "HS256")


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[World]:
    settings = {
        "mqtt.openTopics": "true",
        "authentication.jwt.secret": SECRET,
        "authentication.jwt.role": "device",
    }
    async with world(folder, settings) as made:
        role = {"topics": {"in/%u/#": "both", "cmd/%c": "read"}}
        await made.node.roles.put(read_role("device", role))
        await until(lambda: made.node.tail.position == made.node.engine.position)
        yield made


@asynccontextmanager
async def connected(
    made: World, name: str | None, password: str, *, will: tuple[str, bytes] | None = None
) -> AsyncIterator[tuple[Mqtt, int]]:
    reader, writer = await asyncio.open_connection(made.mqtt_host, made.mqtt_port)
    client = Mqtt(reader, writer, 5)
    try:
        connect = frames.connect(
            5,
            "c1",
            username=name,
            password=password.encode(),
            will=will,
            will_retain=will is not None,
            will_properties=b"\x18\x00\x00\x00\x01",
            props=b"\x11\x00\x00\x00\xff",
        )
        writer.write(connect)
        yield client, (await client.until(2)).reason
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("name", ["dev-7", None])
def test_a_device_logs_in_with_its_token_and_is_that_user(name: str | None, tmp_path: Path) -> None:
    async def body() -> None:
        async with served(tmp_path) as made, connected(made, name, token()) as (client, reason):
            assert reason == 0
            for topic, code in (("in/dev-7/#", 0), ("in/dev-8/#", 0x87), ("cmd/c1", 0)):
                client.writer.write(frames.subscribe(topic, version=5))
                assert (await client.until(SUBACK)).codes == [code]

    asyncio.run(body())


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("dev-8", token()),
        ("dev-7", token()[:-4]),
        ("dev-7", token(exp=1)),
        ("super_user", token("super_user")[:-2]),
    ],
)
def test_a_token_of_somebody_else_or_of_before_is_refused(
    name: str, password: str, tmp_path: Path
) -> None:
    async def body() -> None:
        async with served(tmp_path) as made, connected(made, name, password) as (_, reason):
            assert reason == 0x86

    asyncio.run(body())


def test_a_connection_ends_with_its_token(tmp_path: Path) -> None:
    async def body() -> None:
        async with (
            served(tmp_path) as made,
            connected(made, None, token(exp=time.time() + 0.5)) as (client, reason),
        ):
            assert reason == 0
            assert (await client.until(14)).reason == 0x87

    asyncio.run(body())


@pytest.mark.parametrize(
    ("change", "is_told"),
    [
        ({}, True),
        ({"topics": {"in/%u/#": "read"}}, False),
        ({"super_user": True}, False),
    ],
)
def test_a_will_that_waits_is_told_by_the_role_that_the_token_gave(
    change: dict[str, object], is_told: bool, tmp_path: Path
) -> None:
    """Its user is stored nowhere; what that role may do is decided when it is told."""

    async def body() -> None:
        async with served(tmp_path) as made:
            will = ("in/dev-7/gone", b"1")
            async with connected(made, None, token(), will=will) as (_, reason):
                assert reason == 0
            assert made.node.store is not None
            claims = made.node.store.claims
            assert claims is not None
            await until(lambda: claims.statistics().wills_delayed == 1)
            if change:
                await made.node.roles.put(read_role("device", change))

            def outcome() -> tuple[int, int]:
                counts = claims.statistics()
                return counts.wills_published, counts.wills_failed

            await until(lambda: outcome() == ((1, 0) if is_told else (0, 1)))

    asyncio.run(body())


def test_a_program_sends_its_token_as_bearer_until_it_ends(tmp_path: Path) -> None:
    async def body() -> None:
        async with served(tmp_path) as made, httpx.AsyncClient(timeout=DEADLINE_S) as client:

            def headers(text: str) -> dict[str, str]:
                return {"authorization": f"Bearer {text}", "accept": "text/event-stream"}

            for path, status in (("in/dev-7/a", 404), ("in/dev-8/a", 403)):
                found = await client.get(
                    f"{made.http}/{path}", headers={"authorization": f"Bearer {token()}"}
                )
                assert found.status_code == status
            wrong = await client.get(f"{made.http}/in/dev-7/a", headers=headers(token()[:-3]))
            assert wrong.status_code == 401
            ending = headers(token(exp=time.time() + 0.5))
            async with client.stream("GET", f"{made.http}/in/dev-7/", headers=ending) as events:
                assert events.status_code == 200
                async for _ in events.aiter_raw():
                    pass  # until the server ends it

    asyncio.run(body())


@pytest.mark.parametrize("root", ["$token", "$session"])
@pytest.mark.parametrize("is_basic", [True, False])
def test_a_token_is_not_exchanged_for_a_login_that_lasts_longer(
    root: str, is_basic: bool, tmp_path: Path
) -> None:
    """Also of a user of this server, who could get one by its password."""

    async def body() -> None:
        async with served(tmp_path) as made, httpx.AsyncClient(timeout=DEADLINE_S) as client:
            for password, status in ((PASSWORD, (200, 201, 204)), (token("all"), (401,))):
                given = {"username": "all", "password": password}
                answer = await client.post(
                    f"{made.http}/{root}",
                    auth=httpx.BasicAuth("all", password) if is_basic else httpx.Auth(),
                    json=None if is_basic else given,
                )
                assert answer.status_code in status, answer.text

    asyncio.run(body())


def test_a_key_set_is_read_again_and_stays_while_it_cannot_be(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"

    async def body() -> None:
        file.write_text(json.dumps({"keys": [jwk(RSA, "a")]}))
        fresh = FreshKeys(str(file), every_s=0.01)
        await fresh.start()
        try:
            assert fresh.keys.find("a") is not None
            file.write_text(json.dumps({"keys": [jwk(EC, "b")]}))
            await until(lambda: fresh.keys.find("b") is not None)
            assert fresh.keys.find("a") is None
            file.write_text("{")
            await asyncio.sleep(0.05)
            assert fresh.keys.find("b") is not None
        finally:
            await fresh.stop()

    asyncio.run(body())


def test_a_server_does_not_start_with_a_key_set_that_is_none(tmp_path: Path) -> None:
    for text in (None, "{", '{"keys": []}'):
        file = tmp_path / "keys.json"
        if text is not None:
            file.write_text(text)
        with pytest.raises(SettingError, match="jwks"):
            asyncio.run(FreshKeys(str(file), 1.0).start())


def test_keys_come_over_tls_or_from_this_machine() -> None:
    """Whoever stands in between could log in as anybody."""
    require_safe("x", "https://id.example/keys")
    require_safe("x", "http://127.0.0.1:8080/keys")
    with pytest.raises(SettingError, match="https"):
        require_safe("x", "http://id.example/keys")
