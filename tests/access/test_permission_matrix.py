"""Every way in and out of the data, in every protocol, for a user of every role.

The matrix is closed: a protocol that is installed, a handler that is mounted, a method, a
decision or a kind of write that stands in no row here fails a test.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, NamedTuple, get_args

import httpx
import pytest

from lyredb.errors import NotAuthorised
from lyredb.protocols.rest.methods import OPERATIONS, methods_of
from lyredb.resources.access import Decision
from lyredb.resources.requests import Write, WriteOperation
from lyredb.security.rights import TableRights
from lyredb.server.composition import find_plugins
from lyredb.tables.query.terms import Condition, Query
from tests.access.readers import (
    Open,
    headers,
    mqtt,
    open_mqtt,
    open_python,
    open_sse,
    open_websocket,
)
from tests.access.world import DEADLINE_S, ROLES, SECRET, TRUSTED, World, until, world
from tests.protocols.mqtt import client_frames as frames

Attempt = Callable[[World, str, str], Awaitable[bool]]
"""Do it as a user of a role with a record; tell whether it was done."""


class Action(NamedTuple):
    """One thing that can be tried.

    Attributes:
        decision: What decides it.
        needs: Whether rights suffice.
        exists: The record is there before.
        names: It names an attribute: what it asks for, compares or writes.
        shows: It shows whole records or messages.
    """

    decision: Decision
    needs: Callable[[TableRights], bool]
    exists: bool = True
    names: bool = False
    shows: bool = False


def reads(rights: TableRights) -> bool:
    return rights.read


def inserts(rights: TableRights) -> bool:
    return rights.insert


def updates(rights: TableRights) -> bool:
    return rights.update


def deletes(rights: TableRights) -> bool:
    return rights.delete


ACTIONS: Final[Mapping[str, Action]] = {
    "get": Action("read", reads, shows=True),
    "property": Action("read", reads, names=True),
    "query": Action("read", reads, names=True, shows=True),
    "query in the body": Action("read", reads, names=True, shows=True),
    "describe": Action("describe", lambda rights: rights.any),
    "put new": Action("save", inserts, exists=False, names=True),
    "put existing": Action("save", updates, names=True),
    "patch new": Action("save", inserts, exists=False, names=True),
    "patch existing": Action("save", updates, names=True),
    "increment": Action("save", updates, names=True),
    "put property": Action("save", updates, names=True),
    "delete property": Action("save", updates, names=True),
    "create": Action("insert", inserts, exists=False, names=True),
    "create several": Action("insert", inserts, exists=False, names=True),
    "put several new": Action("save", inserts, exists=False, names=True),
    "put several existing": Action("save", updates, names=True),
    "delete": Action("delete", deletes),
    "delete matching": Action("delete", lambda rights: rights.read and rights.delete, names=True),
    "publish": Action("publish", inserts),
    "retain new": Action("save", inserts, exists=False, names=True),
    "retain existing": Action("save", updates, names=True),
    "retain empty": Action("delete", deletes),
    "will": Action("publish", inserts),
    "retained will": Action("save", inserts, exists=False, names=True),
    "current state": Action("subscribe", reads, shows=True),
    "live event": Action("subscribe", reads, shows=True),
    "live delete": Action("subscribe", reads),
    "live message": Action("subscribe", reads, shows=True),
    "resume": Action("subscribe", reads, shows=True),
}
VALUES: Final = itertools.count(1000)


# REST


def rest(method: str, path: str, body: Callable[[World, str], object] | None = None) -> Attempt:
    """Ask; ``{id}`` in the path is the record, ``{attribute}`` the one that is asked for."""

    async def attempt(world: World, role: str, record_id: str) -> bool:
        where = path.format(id=record_id, attribute=world.attribute)
        content = None if body is None else json.dumps(body(world, record_id))
        typed = {} if body is None else {"content-type": "application/json"}
        async with httpx.AsyncClient(timeout=DEADLINE_S) as client:
            answer = await client.request(
                method, f"{world.http}/{where}", headers=headers(role) | typed, content=content
            )
        assert answer.status_code in (200, 201, 204, 403), (method, where, answer.text)
        return answer.status_code != 403

    return attempt


def _changes(world: World, record_id: str) -> dict[str, object]:
    return {"value": 5} | world.extra


def _record(world: World, record_id: str) -> dict[str, object]:
    return {"id": record_id} | _changes(world, record_id)


def _records(world: World, record_id: str) -> list[dict[str, object]]:
    return [_record(world, record_id)]


def _increments(world: World, record_id: str) -> dict[str, object]:
    return {"value": {"__op__": "add", "value": 4}} | world.extra


def _asked(world: World, record_id: str) -> object:
    wanted = 1 if world.attribute == "value" else SECRET
    return {"conditions": [{"attribute": world.attribute, "value": wanted}]}


def _one_value(world: World, record_id: str) -> object:
    return 5 if world.attribute == "value" else "mine"


REST: Final[Mapping[str, Attempt]] = {
    "get": rest("GET", "Sensor/{id}"),
    "property": rest("GET", "Sensor/{id}.{attribute}"),
    "query": rest("GET", "Sensor/?{attribute}=1"),
    "query in the body": rest("QUERY", "Sensor/", _asked),
    "describe": rest("GET", "Sensor"),
    "put new": rest("PUT", "Sensor/{id}", _changes),
    "put existing": rest("PUT", "Sensor/{id}", _changes),
    "patch new": rest("PATCH", "Sensor/{id}", _changes),
    "patch existing": rest("PATCH", "Sensor/{id}", _changes),
    "increment": rest("PATCH", "Sensor/{id}", _increments),
    "put property": rest("PUT", "Sensor/{id}.{attribute}", _one_value),
    "delete property": rest("DELETE", "Sensor/{id}.{attribute}"),
    "create": rest("POST", "Sensor/", _record),
    "create several": rest("POST", "Sensor/", _records),
    "put several new": rest("PUT", "Sensor/", _records),
    "put several existing": rest("PUT", "Sensor/", _records),
    "delete": rest("DELETE", "Sensor/{id}"),
    "delete matching": rest("DELETE", "Sensor/?id={id}&{attribute}=1"),
}
METHODS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("record", "GET"): ("get",),
    ("record", "PUT"): ("put new", "put existing"),
    ("record", "PATCH"): ("patch new", "patch existing", "increment"),
    ("record", "DELETE"): ("delete",),
    ("property", "GET"): ("property",),
    ("property", "PUT"): ("put property",),
    ("property", "DELETE"): ("delete property",),
    ("collection", "GET"): ("query",),
    ("collection", "QUERY"): ("query in the body",),
    ("collection", "POST"): ("create", "create several"),
    ("collection", "PUT"): ("put several new", "put several existing"),
    ("collection", "DELETE"): ("delete matching",),
    ("table", "GET"): ("describe",),
}
"""The rows of each method on each kind of target. HEAD is GET; OPTIONS and TRACE look at no
record."""


# Python


def python(operation: WriteOperation) -> Attempt:
    async def attempt(world: World, role: str, record_id: str) -> bool:
        database, context = world.node.database, world.context(role)
        value = _changes(world, record_id)
        path = f"Sensor/{record_id}"
        if operation == "create":
            path, value = "Sensor/", _record(world, record_id)
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
    reading = database.get(database.resolve(path, context), context)
    if reading is not None:
        world.tap.told += repr(reading.value()).encode()
    return reading


def _query(world: World, role: str, record_id: str) -> object:
    database, context = world.node.database, world.context(role)
    query = Query(where=Condition((world.attribute,), value=None, comparator="not_equal"))
    found = list(database.search(database.resolve("Sensor/", context), query, context))
    world.tap.told += repr(found).encode()
    return found


def _describe(world: World, role: str, record_id: str) -> object:
    database, context = world.node.database, world.context(role)
    described = database.describe(database.resolve("Sensor", context), context)
    world.tap.told += repr(described).encode()
    return described


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
    "property": python_now(
        lambda world, role, one: _read(world, role, f"Sensor/{one}.{world.attribute}")
    ),
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


def publishing(version: int, *, retain: bool, is_empty: bool = False) -> Attempt:
    async def attempt(world: World, role: str, record_id: str) -> bool:
        payload = b"" if is_empty else json.dumps(_changes(world, record_id)).encode()
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
        last = (f"Sensor/{record_id}", json.dumps(_changes(world, record_id)).encode())
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
    return {
        "publish": publishing(version, retain=False),
        "retain new": publishing(version, retain=True),
        "retain existing": publishing(version, retain=True),
        "retain empty": publishing(version, retain=True, is_empty=True),
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
    "operators": "",
    "server": "",
    "openapi": "",
    "session": "",
    "token": "",
    "static": "",
    "welcome": "",
}
"""The protocol of each handler of the HTTP port, ``""`` for one that touches no records, or is
for super users alone."""


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
                    made.tap.told.clear()
                    done = await attempt(made, role, record_id)
                    if done is not action.needs(rights):
                        wrong.append(f"{role} {'could' if done else 'could not'} {name}")
                    wrong += _wrongly_told(made, name, role, done=done)
                    if not done and action.decision in ("save", "insert", "delete"):
                        kept = 1 if action.exists else None
                        assert made.value(record_id) == kept, f"refused, yet done: {name}"
        assert wrong == []

    asyncio.run(body())


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("path", ["$clients", "$clients/c1", "$retained?filter=%23"])
def test_clients_and_retained_messages_are_for_super_users(
    method: str, path: str, tmp_path: Path
) -> None:
    """Whatever a role may do with tables, and also where there is nothing to be found."""

    async def body() -> None:
        async with world(tmp_path) as made, httpx.AsyncClient(timeout=DEADLINE_S) as client:
            for role in (one for one in ROLES if one != "super_user"):
                answer = await client.request(method, f"{made.http}/{path}", headers=headers(role))
                assert answer.status_code == 403, role
            foreign = headers("super_user") | {"origin": "https://evil.example"}
            answer = await client.request("DELETE", f"{made.http}/{path}", headers=foreign)
            assert answer.status_code == 403

    asyncio.run(body())


def _wrongly_told(made: World, name: str, role: str, *, done: bool) -> list[str]:
    """What ``some`` was told of the secret attribute, and what all others who read were not."""
    has_value, has_name = SECRET.encode() in made.tap.told, b"secret" in made.tap.told
    if role == "some" and (has_value or has_name):
        return [f"some was told the secret by {name}"]
    if role != "some" and done and ACTIONS[name].shows and not has_value:
        return [f"{role} was not told the secret by {name}"]
    return []


@pytest.mark.parametrize("protocol", MATRIX)
def test_no_way_uses_an_attribute_without_the_right_to_it(protocol: str, tmp_path: Path) -> None:
    """Everything again, with a foreign attribute where one is named: only that is refused."""

    async def body() -> None:
        wrong: list[str] = []
        async with world(tmp_path) as made:
            made.attribute, made.extra = "secret", {"secret": "mine"}
            for name, attempt in MATRIX[protocol].items():
                action, record_id = ACTIONS[name], name.replace(" ", "-")
                if action.exists:
                    await made.put(record_id, 1)
                made.tap.told.clear()
                done = await attempt(made, "some", record_id)
                if done is action.names:
                    wrong.append(f"some {'could' if done else 'could not'} {name}")
                if SECRET.encode() in made.tap.told:
                    wrong.append(f"some was told the secret by {name}")
                if action.names:
                    kept = SECRET if action.exists else None
                    assert made.secret(record_id) == kept, f"changed by {name}"
        assert wrong == []

    asyncio.run(body())


@pytest.mark.parametrize("protocol", ["rest", "python", "mqtt 5"])
def test_what_may_not_be_changed_stays(protocol: str, tmp_path: Path) -> None:
    """A put of the rest keeps it; so do a patch and a retained message."""

    async def body() -> None:
        async with world(tmp_path) as made:
            for name, attempt in MATRIX[protocol].items():
                action, record_id = ACTIONS[name], name.replace(" ", "-")
                if action.decision == "save" and action.exists:
                    await made.put(record_id, 1)
                    assert await attempt(made, "some", record_id)
                    assert made.value(record_id) == (None if name == "delete property" else 5)
                    assert made.secret(record_id) == SECRET, name

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
            assert set(http._port.upgrades) == {"mqtt", "mqttv3.1"}  # one handler
        assert {name for name in MOUNTED.values() if name} <= MATRIX.keys()

    asyncio.run(body())


def test_every_decision_write_and_method_is_tried() -> None:
    tried = {ACTIONS[name].decision for row in MATRIX.values() for name in row}
    assert tried == set(get_args(Decision))
    assert {name for row in MATRIX.values() for name in row} == ACTIONS.keys()
    assert set(OPERATIONS.values()) == set(get_args(WriteOperation))
    assert TRUSTED.principal.name == "super_user"


def test_every_method_of_every_kind_of_target_is_tried(tmp_path: Path) -> None:
    async def body() -> None:
        async with world(tmp_path) as made:
            paths = {"record": "Sensor/1", "property": "Sensor/1.value"}
            paths |= {"collection": "Sensor/", "table": "Sensor"}
            for kind, path in paths.items():
                target = made.node.database.resolve(path, made.context("all"))
                assert target.kind == kind
                offered = set(methods_of(target)) - {"HEAD", "OPTIONS", "TRACE"}
                assert offered == {method for one, method in METHODS if one == kind}
        assert {name for names in METHODS.values() for name in names} == REST.keys()

    asyncio.run(body())
