"""Every way in and out of the data, in every protocol, for a user of every role.

The matrix is closed: a protocol that is installed, a handler that is mounted, a method, a
decision or a kind of write that stands in no row here fails a test.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple, get_args

import httpx
import pytest

from lyredb.errors import NotAuthorised
from lyredb.protocols.rest.reading import NOW
from lyredb.protocols.rest.writing import OPERATIONS
from lyredb.resources.access import Decision
from lyredb.resources.requests import Write, WriteOperation
from lyredb.security.rights import TableRights
from lyredb.server.composition import find_plugins
from lyredb.tables.query.terms import Query
from tests.access.readers import (
    Open,
    headers,
    mqtt,
    open_mqtt,
    open_python,
    open_sse,
    open_websocket,
)
from tests.access.world import DEADLINE_S, ROLES, TRUSTED, World, until, world
from tests.protocols.mqtt import client_frames as frames

Attempt = Callable[[World, str, str], Awaitable[bool]]
"""Do it as a user of a role with a record; tell whether it was done."""


class Action(NamedTuple):
    """One thing that can be tried.

    Attributes:
        decision: What decides it.
        needs: Whether rights suffice.
        exists: The record is there before.
    """

    decision: Decision
    needs: Callable[[TableRights], bool]
    exists: bool = True


def reads(rights: TableRights) -> bool:
    return rights.read


def inserts(rights: TableRights) -> bool:
    return rights.insert


def updates(rights: TableRights) -> bool:
    return rights.update


def deletes(rights: TableRights) -> bool:
    return rights.delete


ACTIONS: Final[Mapping[str, Action]] = {
    "get": Action("read", reads),
    "property": Action("read", reads),
    "query": Action("read", reads),
    "describe": Action("describe", lambda rights: rights.any),
    "put new": Action("save", inserts, exists=False),
    "put existing": Action("save", updates),
    "patch new": Action("save", inserts, exists=False),
    "patch existing": Action("save", updates),
    "create": Action("insert", inserts, exists=False),
    "delete": Action("delete", deletes),
    "publish": Action("publish", inserts),
    "retain new": Action("save", inserts, exists=False),
    "retain existing": Action("save", updates),
    "retain empty": Action("delete", deletes),
    "will": Action("publish", inserts),
    "retained will": Action("save", inserts, exists=False),
    "current state": Action("subscribe", reads),
    "live event": Action("subscribe", reads),
    "live delete": Action("subscribe", reads),
    "live message": Action("subscribe", reads),
    "resume": Action("subscribe", reads),
}
VALUES: Final = itertools.count(1000)


# REST


def rest(method: str, path: str, value: object = None) -> Attempt:
    """Ask; ``{id}`` in the path is the record."""

    async def attempt(world: World, role: str, record_id: str) -> bool:
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            answer = await client.request(
                method,
                f"{world.ready.http}/{path.format(id=record_id)}",
                headers=headers(role),
                json={"id": record_id, "value": 5} if value == "created" else value,
            )
        assert answer.status_code in (200, 201, 204, 403), answer.text
        return answer.status_code != 403

    return attempt


REST: Final[Mapping[str, Attempt]] = {
    "get": rest("GET", "Sensor/{id}"),
    "property": rest("GET", "Sensor/{id}.value"),
    "query": rest("GET", "Sensor/?value=1"),
    "describe": rest("GET", "Sensor"),
    "put new": rest("PUT", "Sensor/{id}", {"value": 5}),
    "put existing": rest("PUT", "Sensor/{id}", {"value": 5}),
    "patch new": rest("PATCH", "Sensor/{id}", {"value": 5}),
    "patch existing": rest("PATCH", "Sensor/{id}", {"value": 5}),
    "create": rest("POST", "Sensor/", "created"),
    "delete": rest("DELETE", "Sensor/{id}"),
}


# Python


def python(operation: WriteOperation) -> Attempt:
    async def attempt(world: World, role: str, record_id: str) -> bool:
        database, context = world.node.database, world.context(role)
        value: dict[str, object] = {"value": 5}
        path = f"Sensor/{record_id}"
        if operation == "create":
            path, value = "Sensor/", {"id": record_id, "value": 5}
        write = Write(
            database.resolve(path, context), operation, None if operation == "delete" else value
        )
        try:
            await database.write(write, context)
        except NotAuthorised:
            return False
        return True

    return attempt


def python_now(act: Callable[[World, str, str], object]) -> Attempt:
    async def attempt(world: World, role: str, record_id: str) -> bool:
        try:
            act(world, role, record_id)
        except NotAuthorised:
            return False
        return True

    return attempt


def _read(world: World, role: str, path: str) -> object:
    database, context = world.node.database, world.context(role)
    return database.get(database.resolve(path, context), context)


def _query(world: World, role: str, record_id: str) -> object:
    database, context = world.node.database, world.context(role)
    return list(database.search(database.resolve("Sensor/", context), Query(), context))


def _describe(world: World, role: str, record_id: str) -> object:
    database, context = world.node.database, world.context(role)
    return database.describe(database.resolve("Sensor", context), context)


def _publish(world: World, role: str, record_id: str) -> None:
    world.node.database.publish(f"Sensor/{record_id}", b"5", world.context(role))


# Readers


def reader(open_reader: Open, act: Callable[[World, str, int], Awaitable[object]]) -> Attempt:
    """Subscribe, act, and wait for what tells of it."""

    async def attempt(world: World, role: str, record_id: str) -> bool:
        async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE_S):
            following = await open_reader(world, role, record_id, stack, "")
            if following is None:
                return False
            assert await following() == 1
            value = next(VALUES)
            expected = await act(world, record_id, value)
            return expected is None or await following() == expected

    return attempt


async def _nothing(world: World, record_id: str, value: int) -> object:
    return None


async def _write(world: World, record_id: str, value: int) -> object:
    await world.put(record_id, value)
    return value


async def _delete(world: World, record_id: str, value: int) -> object:
    await world.delete(record_id)
    return "deleted"


async def _message(world: World, record_id: str, value: int) -> object:
    await until(lambda: world.node.tail.position == world.node.engine.position)
    await asyncio.sleep(0)
    world.publish(record_id, value)
    return value


def resume(open_reader: Open) -> Attempt:
    async def attempt(world: World, role: str, record_id: str) -> bool:
        after, value = world.position(), next(VALUES)
        await world.put(record_id, value)
        async with AsyncExitStack() as stack, asyncio.timeout(DEADLINE_S):
            following = await open_reader(world, role, record_id, stack, after)
            return following is not None and await following() == value

    return attempt


def reading(open_reader: Open) -> dict[str, Attempt]:
    return {
        "current state": reader(open_reader, _nothing),
        "live event": reader(open_reader, _write),
        "live delete": reader(open_reader, _delete),
        "live message": reader(open_reader, _message),
    }


PYTHON: Final[Mapping[str, Attempt]] = {
    "get": python_now(lambda world, role, one: _read(world, role, f"Sensor/{one}")),
    "property": python_now(lambda world, role, one: _read(world, role, f"Sensor/{one}.value")),
    "query": python_now(_query),
    "describe": python_now(_describe),
    "put new": python("put"),
    "put existing": python("put"),
    "patch new": python("patch"),
    "patch existing": python("patch"),
    "create": python("create"),
    "delete": python("delete"),
    "publish": python_now(_publish),
    **reading(open_python),
    "resume": resume(open_python),
}


# MQTT


def publishing(version: int, payload: bytes, *, retain: bool) -> Attempt:
    async def attempt(world: World, role: str, record_id: str) -> bool:
        async with mqtt(world, role, version) as (client, reason):
            assert reason == 0
            before = (world.value(record_id), len(world.messages(record_id)))
            frame = frames.publish(
                f"Sensor/{record_id}", payload, version=version, qos=1, retain=retain
            )
            client.writer.write(frame)
            answer = await client.until(4)
            after = (world.value(record_id), len(world.messages(record_id)))
            done = before != after
            if version == 5:
                assert (answer.reason == 0x87) is not done
            return done

    return attempt


def will(version: int, *, retain: bool) -> Attempt:
    async def attempt(world: World, role: str, record_id: str) -> bool:
        last = (f"Sensor/{record_id}", b'{"value":5}')
        async with mqtt(world, role, version, last, will_retain=retain) as (_, reason):
            if reason:
                assert reason == (0x87 if version == 5 else 5)
                return False
            refused = world.refused_messages()
        if not retain:
            await until(lambda: bool(world.messages(record_id)))
            return True
        # Whether a record is made is known at its commit, long after the CONNECT.
        await until(lambda: world.value(record_id) == 5 or world.refused_messages() > refused)
        return world.value(record_id) == 5

    return attempt


def over_mqtt(version: int) -> Mapping[str, Attempt]:
    record = b'{"value":5}'
    return {
        "publish": publishing(version, record, retain=False),
        "retain new": publishing(version, record, retain=True),
        "retain existing": publishing(version, record, retain=True),
        "retain empty": publishing(version, b"", retain=True),
        "will": will(version, retain=False),
        "retained will": will(version, retain=True),
        **reading(open_mqtt(version)),
    }


MATRIX: Final[Mapping[str, Mapping[str, Attempt]]] = {
    "rest": REST,
    "sse": reading(open_sse) | {"resume": resume(open_sse)},
    "websocket": reading(open_websocket) | {"resume": resume(open_websocket)},
    "mqtt 3.1.1": over_mqtt(4),
    "mqtt 5": over_mqtt(5),
    "python": PYTHON,
}
MOUNTED: Final[Mapping[str, str]] = {
    "rest": "rest",
    "rest open topics": "rest",
    "sse": "sse",
    "websocket": "websocket",
    "health": "",
    "session": "",
    "token": "",
    "static": "",
    "welcome": "",
}
"""The protocol of each handler of the HTTP port, ``""`` for one that touches no records."""


@pytest.mark.parametrize("protocol", MATRIX)
def test_each_way_is_open_to_who_has_the_right_and_to_nobody_else(
    protocol: str, tmp_path: Path
) -> None:
    async def body() -> None:
        wrong: list[str] = []
        async with world(tmp_path) as made:
            for name, attempt in MATRIX[protocol].items():
                action = ACTIONS[name]
                for role, rights in ROLES.items():
                    record_id = f"{name}-{role}".replace(" ", "-")
                    if action.exists:
                        await made.put(record_id, 1)
                    done = await attempt(made, role, record_id)
                    if done is not action.needs(rights):
                        wrong.append(f"{role} {'could' if done else 'could not'} {name}")
                    if not done and action.decision in ("save", "insert", "delete"):
                        kept = 1 if action.exists else None
                        assert made.value(record_id) == kept, f"refused, yet done: {name}"
        assert wrong == []

    asyncio.run(body())


def test_every_protocol_that_is_installed_has_its_rows() -> None:
    rows = {name.partition(" ")[0] for name in MATRIX} - {"python"}
    assert {plugin.name for plugin in find_plugins()} == rows


def test_every_handler_of_the_http_port_has_its_rows(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as made:
            http = made.worker._http
            assert http is not None
            assert {mount.name for mount in http._router._mounts} <= MOUNTED.keys()
            assert set(http._port.upgrades) == {"mqtt"}
        assert {name for name in MOUNTED.values() if name} <= MATRIX.keys()

    asyncio.run(body())


def test_every_decision_write_and_method_is_tried() -> None:
    tried = {ACTIONS[name].decision for row in MATRIX.values() for name in row}
    assert tried == set(get_args(Decision))
    assert {name for row in MATRIX.values() for name in row} == ACTIONS.keys()
    assert set(OPERATIONS.values()) == set(get_args(WriteOperation))
    assert set(NOW) == {"record", "property", "collection", "table"}
    assert TRUSTED.principal.name == "super_user"
