"""Topic patterns of roles, over every protocol: what they open, and that all else is shut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx
import pytest
from argon2 import PasswordHasher
from msgspec.structs import replace
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from lyredb.errors import NotAuthorised
from lyredb.plugins.context import Context
from lyredb.resources.readmission import Readmission
from lyredb.resources.requests import Write
from lyredb.security.rights import read_role
from lyredb.security.users import User, Users
from lyredb.tables.query.terms import Query
from tests.access.readers import PUBLISH, SUBACK, Mqtt, headers, mqtt
from tests.access.world import DEADLINE_S, PASSWORD, TRUSTED, World, until, world
from tests.protocols.mqtt import client_frames as frames
from tests.resources.node_under_test import Collector

ROLE: Final = {
    "topics": {
        "in/%u/#": "both",
        "all/#": "read",
        "all/secret/#": "none",
        "log/+": "write",
    },
    # Not for open topics: patterns decide there alone.
    "*": {"*": {"read": True, "insert": True, "update": True, "delete": True}},
}
BOTH, READ, WRITE, NOTHING = (True, True), (True, False), (False, True), (False, False)
TOPICS: Final = {
    "in/eve": BOTH,
    "in/eve/a": BOTH,
    "in/bob/a": NOTHING,
    "in": NOTHING,
    "all/a": READ,
    "all/secret/a": NOTHING,
    "log/a": WRITE,
    "log/a/b": NOTHING,
    "else": NOTHING,
}
"""What eve may do with each: read, write."""


@asynccontextmanager
async def patterns(folder: Path, role: Mapping[str, object] = ROLE) -> AsyncIterator[World]:
    """A server with open topics, and the users eve and bob of the role ``r``."""
    async with world(folder, {"mqtt.openTopics": "true"}) as made:
        await define(made, role)
        hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
        for name in ("eve", "bob"):
            await Users(made.node.engine, made.node.writer).put(User(name, hashed, "r"))
        yield made


async def define(made: World, role: Mapping[str, object]) -> None:
    node = made.node
    await node.roles.put(read_role("r", role))
    await until(lambda: node.tail.position == node.engine.position)


async def retain(made: World, topic: str) -> None:
    database = made.node.database
    target = database.resolve(topic, TRUSTED)
    await database.write(Write(target, "put", payload=b"1", retain=True), TRUSTED)


def context(made: World, user: str = "eve", client: str = "") -> Context:
    found = Users(made.node.engine, made.node.writer).find(user)
    assert found is not None
    bare = Context(found.principal, "python", user, client_id=client)
    return made.node.database.identify(bare)


Attempt = Callable[[World, str], Awaitable[bool]]


def rest(method: str, more: dict[str, str] | None = None) -> Attempt:
    async def attempt(made: World, topic: str) -> bool:
        async with (
            httpx.AsyncClient(timeout=DEADLINE_S) as client,
            client.stream(
                method,
                f"{made.http}/{topic}",
                headers=headers("eve") | (more or {}),
                content=b"1" if method == "PUT" else None,
            ) as answer,
        ):
            assert answer.status_code in (200, 204, 403), (method, topic)
            return answer.status_code != 403

    return attempt


async def websocket(made: World, topic: str) -> bool:
    address = made.http.replace("http://", "ws://")
    try:
        async with connect(f"{address}/{topic}", additional_headers=headers("eve")):
            return True
    except InvalidStatus as error:
        if error.response.status_code != 403:
            raise
        return False


def publishing(payload: bytes, *, retained: bool) -> Attempt:
    async def attempt(made: World, topic: str) -> bool:
        async with mqtt(made, "eve", 5) as (client, reason):
            assert reason == 0
            client.writer.write(frames.publish(topic, payload, version=5, qos=1, retain=retained))
            answer = await client.until(4)
            assert answer.reason in (0, 0x10, 0x87)
            return answer.reason != 0x87

    return attempt


def will(*, retained: bool) -> Attempt:
    async def attempt(made: World, topic: str) -> bool:
        async with mqtt(made, "eve", 5, (topic, b"1"), will_retain=retained) as (_, reason):
            assert reason in (0, 0x87)
            return reason == 0

    return attempt


async def subscribing(made: World, topic: str) -> bool:
    async with mqtt(made, "eve", 5) as (client, _):
        client.writer.write(frames.subscribe(topic, version=5))
        code = (await client.until(SUBACK)).codes[0]
        assert code in (0, 0x87)
        return code == 0


def python(act: Callable[[World, str], object]) -> Attempt:
    async def attempt(made: World, topic: str) -> bool:
        try:
            done = act(made, topic)
            if isinstance(done, Awaitable):
                await done
        except NotAuthorised:
            return False
        return True

    return attempt


def _publish(made: World, topic: str) -> None:
    made.node.database.publish(topic, b"1", context(made))


def _get(made: World, topic: str) -> object:
    database = made.node.database
    return database.get(database.resolve(topic, context(made)), context(made))


def _resume(made: World, topic: str) -> None:
    collector = Collector()
    made.node.database.subscribe(
        topic, collector, context(made), collector.options(), made.position()
    ).close()


def _write(made: World, topic: str) -> Awaitable[object]:
    database = made.node.database
    target = database.resolve(topic, context(made))
    return database.write(Write(target, "put", payload=b"1"), context(made))


READS: Final[Mapping[str, Attempt]] = {
    "get": rest("GET"),
    "events": rest("GET", {"accept": "text/event-stream"}),
    "websocket": websocket,
    "subscribe": subscribing,
    "python get": python(_get),
    "python resume": python(_resume),
}
WRITES: Final[Mapping[str, Attempt]] = {
    "put": rest("PUT", {"content-type": "text/plain"}),
    "delete": rest("DELETE"),
    "publish": publishing(b"1", retained=False),
    "retain": publishing(b"1", retained=True),
    "clear": publishing(b"", retained=True),
    "will": will(retained=False),
    "retained will": will(retained=True),
    "python publish": python(_publish),
    "python put": python(_write),
}


def test_each_way_is_open_as_the_patterns_say(tmp_path: Path) -> None:
    """Every way in and out, with topics of every kind."""

    async def body() -> None:
        wrong = []
        async with patterns(tmp_path) as made:
            for topic, (reads, writes) in TOPICS.items():
                for ways, may in ((READS, reads), (WRITES, writes)):
                    for name, attempt in ways.items():
                        await retain(made, topic)
                        if await attempt(made, topic) is not may:
                            wrong.append(f"{name} {topic}: {'refused' if may else 'done'}")
        assert wrong == []

    asyncio.run(body())


@pytest.mark.parametrize(
    ("path", "may"),
    [("in/eve/", True), ("in/", False), ("all/", False), ("all/a/", True), ("", False)],
)
def test_a_collection_is_open_where_one_pattern_covers_it(
    path: str, may: bool, tmp_path: Path
) -> None:
    """And nothing in it is taken away: what a query says of the rest would tell of it."""

    async def body() -> None:
        async with patterns(tmp_path) as made:
            await retain(made, "in/eve/x/y")
            database, who = made.node.database, context(made)
            target = database.registry.collection(database.registry.tables[3], path)
            try:
                found = list(database.search(target, Query(), who))
            except NotAuthorised:
                assert not may
            else:
                assert may
                assert len(found) == (path == "in/eve/")

    asyncio.run(body())


async def told(client: Mqtt, until_topic: str) -> list[str]:
    """The topics of messages up to one."""
    topics: list[str] = []
    while until_topic not in topics:
        topics.append((await client.until(PUBLISH)).topic)
    return topics


def test_a_wildcard_brings_what_may_be_read_retained_and_live(tmp_path: Path) -> None:
    async def body() -> None:
        async with patterns(tmp_path) as made, mqtt(made, "eve", 5) as (client, _):
            for topic in TOPICS:
                await retain(made, topic)
            client.writer.write(frames.subscribe("#", version=5))
            await client.until(SUBACK)
            readable = {topic for topic, (reads, _) in TOPICS.items() if reads}
            seen = {(await client.until(PUBLISH)).topic for _ in readable}
            assert seen == readable
            for topic in (*TOPICS, "in/eve/last"):
                made.node.database.publish(topic, b"2", TRUSTED)
                await retain(made, f"{topic}/x")
            live = await told(client, "in/eve/last/x")
            for topic in live:
                assert topic.startswith(("in/eve", "all/a")), topic
            assert "in/eve/a" in live
            assert "all/a/x" in live

    asyncio.run(body())


def test_each_user_gets_its_own_of_one_filter(tmp_path: Path) -> None:
    """Users of one role are told apart by delivery, and a client cannot take another's place."""

    async def body() -> None:
        async with (
            patterns(tmp_path) as made,
            mqtt(made, "eve", 5, client_id="bob") as (eve, _),
            mqtt(made, "bob", 5, client_id="eve") as (bob, _),
        ):
            for client in (eve, bob):
                client.writer.write(frames.subscribe("in/#", version=5))
                await client.until(SUBACK)
            for topic in ("in/eve/1", "in/bob/1", "in/eve/2", "in/bob/2"):
                made.node.database.publish(topic, b"1", TRUSTED)
            assert await told(eve, "in/eve/2") == ["in/eve/1", "in/eve/2"]
            assert await told(bob, "in/bob/2") == ["in/bob/1", "in/bob/2"]

    asyncio.run(body())


def test_a_shared_subscription_brings_nobody_what_another_may_read(tmp_path: Path) -> None:
    """Users who are told apart are groups of their own, whatever name they share."""

    async def body() -> None:
        async with (
            patterns(tmp_path) as made,
            mqtt(made, "eve", 5, client_id="c1") as (eve, _),
            mqtt(made, "bob", 5, client_id="c2") as (bob, _),
        ):
            for client in (eve, bob):
                client.writer.write(frames.subscribe("$share/g/in/#", version=5))
                assert (await client.until(SUBACK)).codes == [0]
            for topic in ("in/eve/1", "in/bob/1", "in/eve/2", "in/bob/2"):
                made.node.database.publish(topic, b"1", TRUSTED)
            assert await told(eve, "in/eve/2") == ["in/eve/1", "in/eve/2"]
            assert await told(bob, "in/bob/2") == ["in/bob/1", "in/bob/2"]

    asyncio.run(body())


@pytest.mark.parametrize("is_taken", [False, True])
def test_a_session_that_slept_gets_what_may_be_read_when_it_wakes(
    is_taken: bool, tmp_path: Path
) -> None:
    """By the rights of then: what was taken away meanwhile is not told."""

    async def body() -> None:
        async with patterns(tmp_path) as made:
            async with mqtt(made, "eve", 4, client_id="c1", clean=False) as (client, _):
                client.writer.write(frames.subscribe(("#", 1)))
                await client.until(SUBACK)
            for topic in (*TOPICS, "in/eve/last"):
                made.node.database.publish(topic, b"2", TRUSTED, qos=1)
            if is_taken:
                await define(made, {"topics": {"in/%u/#": "read"}})
            async with mqtt(made, "eve", 4, client_id="c1", clean=False) as (client, _):
                found = await told(client, "in/eve/last")
            wanted = ["in/eve", "in/eve/a"] + ([] if is_taken else ["all/a"])
            assert sorted(found) == sorted([*wanted, "in/eve/last"])

    asyncio.run(body())


BY_CLIENT: Final = {"topics": {"cmd/%c/#": "read", "out/%c": "write"}}


@pytest.mark.parametrize("version", [4, 5])
def test_connections_are_told_apart_by_their_client_identifier(
    version: int, tmp_path: Path
) -> None:
    async def body() -> None:
        async with (
            patterns(tmp_path, BY_CLIENT) as made,
            mqtt(made, "eve", version, client_id="c1") as (one, _),
            mqtt(made, "eve", version, client_id="c2") as (two, _),
        ):
            for client in (one, two):
                client.writer.write(frames.subscribe("cmd/#", version=version))
                await client.until(SUBACK)
            for topic in ("cmd/c1/a", "cmd/c2/a", "cmd/c1/z", "cmd/c2/z"):
                made.node.database.publish(topic, b"1", TRUSTED)
            assert await told(one, "cmd/c1/z") == ["cmd/c1/a", "cmd/c1/z"]
            assert await told(two, "cmd/c2/z") == ["cmd/c2/a", "cmd/c2/z"]
            for topic in ("out/c2", "out/c1"):
                one.writer.write(frames.publish(topic, b"1", version=version, qos=1, retain=True))
                await one.until(4)
            database = made.node.database
            assert database.get(database.resolve("out/c2", TRUSTED), TRUSTED) is None
            assert database.get(database.resolve("out/c1", TRUSTED), TRUSTED) is not None

    asyncio.run(body())


@pytest.mark.parametrize("name", ["+", "#", "c1/x", "/", "c1/#"])
def test_a_client_identifier_with_letters_of_filters_widens_nothing(
    name: str, tmp_path: Path
) -> None:
    async def body() -> None:
        async with (
            patterns(tmp_path, BY_CLIENT) as made,
            mqtt(made, "eve", 5, client_id=name) as (client, reason),
        ):
            if reason:
                return  # such an identifier is not taken at all
            for topic in ("cmd/#", "cmd/c1/x", "cmd/+/x", "#"):
                client.writer.write(frames.subscribe(topic, version=5))
                assert (await client.until(SUBACK)).codes == [0x87]
            for topic in ("out/c1", "out/c1/x"):
                client.writer.write(frames.publish(topic, b"1", version=5, qos=1))
                assert (await client.until(4)).reason == 0x87

    asyncio.run(body())


def test_a_pattern_that_ends_takes_live_messages_with_it(tmp_path: Path) -> None:
    async def body() -> None:
        async with patterns(tmp_path) as made, mqtt(made, "eve", 5) as (client, _):
            client.writer.write(frames.subscribe("#", version=5))
            await client.until(SUBACK)
            made.node.database.publish("all/a", b"1", TRUSTED)
            assert await told(client, "all/a") == ["all/a"]
            await define(made, {"topics": {"in/%u/#": "read"}})
            made.node.database.publish("all/a", b"1", TRUSTED)
            made.node.database.publish("in/eve/a", b"1", TRUSTED)
            assert await told(client, "in/eve/a") == ["in/eve/a"]

    asyncio.run(body())


def test_who_has_to_be_told_apart_connects_again(tmp_path: Path) -> None:
    """What was decided for the whole role cannot be decided for one user of it."""

    async def body() -> None:
        plain = {"topics": {"all/#": "both"}}
        async with patterns(tmp_path, plain) as made, mqtt(made, "eve", 5) as (client, _):
            client.writer.write(frames.subscribe("all/#", version=5))
            await client.until(SUBACK)
            collector = Collector()
            made.node.database.subscribe(
                "all/#", collector, context(made), collector.options(omit_current=True)
            ).start()
            await define(made, {"topics": {"in/%u/#": "both"}})
            made.node.database.publish("all/a", b"1", TRUSTED)
            assert (await client.until(14)).reason == 0x87
            made.node.hub.flush()
            assert collector.messages == []

    asyncio.run(body())


def test_a_context_of_before_gets_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        async with patterns(tmp_path, {"topics": {"all/#": "both"}}) as made:
            old = context(made)
            database = made.node.database
            database.publish("all/a", b"1", old)
            await define(made, {"topics": {"all/#": "both", "in/%u": "both"}})
            assert database.is_outdated(old.principal)
            with pytest.raises(NotAuthorised):
                database.publish("all/a", b"1", old)
            database.publish("all/a", b"1", database.identify(old))

    asyncio.run(body())


def test_the_class_of_a_role_without_placeholders_is_the_role(tmp_path: Path) -> None:
    """So that all of its users share what is made for it."""

    async def body() -> None:
        async with patterns(tmp_path, {"topics": {"all/#": "both"}}) as made:
            assert context(made, "eve").principal == context(made, "bob").principal
            await define(made, {"topics": {"all/%u": "both"}})
            assert context(made, "eve").principal != context(made, "bob").principal
            one, two = context(made, client="1"), context(made, client="2")
            assert one.principal == two.principal

    asyncio.run(body())


@pytest.mark.parametrize(
    ("topic", "client", "may"),
    [
        ("in/eve/a", "", True),
        ("in/bob/a", "", False),
        ("out/c1", "c1", True),
        ("out/c1", "c2", False),
        ("out/c1", "", False),
        ("out/" + "x" * 600, "x" * 600, True),
        ("out/" + "x" * 600, "y" * 600, False),
    ],
)
@pytest.mark.parametrize("is_retained", [True, False])
def test_a_will_that_the_writer_publishes_is_decided_again_by_topic_and_client(
    topic: str, client: str, may: bool, is_retained: bool, tmp_path: Path
) -> None:
    """Also where the topic is too long to be a key as a whole."""

    async def body() -> None:
        async with patterns(tmp_path, {"topics": {"in/%u/#": "write", "out/%c": "write"}}) as made:
            database, node = made.node.database, made.node
            allowed = replace(TRUSTED, user="eve")
            if is_retained:
                write = Write(database.resolve(topic, allowed), "put", payload=b"1", retain=True)
                mutation = database.prepare(write, allowed)
            else:
                mutation = database.prepare_message(topic.encode(), b"1", allowed)
            readmit = Readmission(node.engine, node.registry.tables)
            if may:
                readmit(mutation, client)
            else:
                with pytest.raises(NotAuthorised):
                    readmit(mutation, client)

    asyncio.run(body())
