"""A whole worker in this process, with a user for each role, and what everybody can see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

from argon2 import PasswordHasher

from lyredb.applications.application import load_application
from lyredb.delivery.position import format_position
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Message
from lyredb.protocols.mqtt.plugin import MqttPlugin
from lyredb.resources.requests import Write
from lyredb.security.principals import SUPER_USER
from lyredb.security.rights import (
    ALL_RIGHTS,
    RIGHTS,
    AttributeRights,
    RoleDefinition,
    TableRights,
)
from lyredb.security.users import User, Users
from lyredb.server.composition import find_plugins, settings_table
from lyredb.server.launch import Launch
from lyredb.server.node import Node
from lyredb.server.ready import Ready
from lyredb.server.worker import Worker
from tests.access.tap import Tap
from tests.resources.fixed_roles import rights_of
from tests.resources.node_under_test import Collector

SCHEMA: Final = """
type Sensor @table @export { id: ID @primaryKey value: Int secret: String }
"""
SECRET: Final = "Xq7-nobody-may-see-this-Zw9"
"""The value of the attribute ``secret`` of every record and message."""
PASSWORD: Final = "s3cret"
DEADLINE_S: Final = 15
TRUSTED: Final = Context(SUPER_USER, "python")
ROLES: Final[dict[str, TableRights]] = {
    "none": TableRights(),
    **{right: rights_of(**{right: True}) for right in RIGHTS},
    "all": ALL_RIGHTS,
    "some": replace(
        ALL_RIGHTS, attributes={"value": AttributeRights(read=True, insert=True, update=True)}
    ),
    "super_user": ALL_RIGHTS,
}


class World:
    """What actions are made with.

    Attributes:
        ready: Addresses.
        worker: The worker.
        node: Its node.
        seen: All that a super user is told.
        http: The root of the HTTP port, behind the tap.
        mqtt_host: Of the MQTT port, behind the tap.
        mqtt_port: The same.
        tap: What the server says; code in the process adds what it was told.
        attribute: Which attribute is asked for where one is named.
        extra: What writes name besides ``value``.
    """

    def __init__(self, ready: Ready, worker: Worker, node: Node) -> None:
        self.http = self.mqtt_host = ""
        self.mqtt_port = 0
        self.tap = Tap()
        self.attribute = "value"
        self.extra: dict[str, object] = {}
        self.ready = ready
        self.worker = worker
        self.node = node
        self.seen = Collector()

    def context(self, role: str) -> Context:
        user = Users(self.node.engine, self.node.writer).find(role)
        assert user is not None
        return Context(user.principal, "python", user=role)

    async def put(self, record_id: str, value: int) -> None:
        target = self.node.database.resolve(f"Sensor/{record_id}", TRUSTED)
        await self.node.database.write(
            Write(target, "put", {"value": value, "secret": SECRET}), TRUSTED
        )

    async def delete(self, record_id: str) -> None:
        target = self.node.database.resolve(f"Sensor/{record_id}", TRUSTED)
        await self.node.database.write(Write(target, "delete"), TRUSTED)

    def publish(self, record_id: str, value: int) -> None:
        payload = b'{"value":%d,"secret":"%s"}' % (value, SECRET.encode())
        self.node.database.publish(f"Sensor/{record_id}", payload, TRUSTED)

    def value(self, record_id: str) -> object:
        """The value of a record, ``None`` when there is none."""
        return self._attribute(record_id, "value")

    def secret(self, record_id: str) -> object:
        """The secret of a record, ``None`` when there is none."""
        return self._attribute(record_id, "secret")

    def _attribute(self, record_id: str, name: str) -> object:
        target = self.node.database.resolve(f"Sensor/{record_id}", TRUSTED)
        reading = self.node.database.get(target, TRUSTED)
        return None if reading is None else reading.value().get(name)

    async def listen(self, stack: AsyncExitStack) -> None:
        """Put the tap before the ports."""
        http = self.ready.http
        assert http is not None
        host, port = await self.tap.listen(http.host, http.port, stack)
        self.http = f"http://{host}:{port}"
        inner = self.ready.listeners["mqtt"][0]
        self.mqtt_host, self.mqtt_port = await self.tap.listen(inner.host, inner.port, stack)

    def position(self) -> str:
        return format_position(self.node.hub.log_id, self.node.engine.position)

    def refused_messages(self) -> int:
        """How many messages of MQTT clients were refused, wills among them."""
        found = {plugin.name: plugin for plugin in self.worker._prepared}["mqtt"]
        assert isinstance(found, MqttPlugin)
        statistics = found.statistics()
        assert statistics is not None
        return statistics.refused

    def messages(self, record_id: str) -> list[Message]:
        """Direct messages to a record, that anybody would have been told of."""
        self.node.hub.flush()
        topic = f"Sensor/{record_id}".encode()
        return [one for one in self.seen.messages if one.topic == topic and one.kind == "message"]


async def until(holds: Callable[[], bool]) -> None:
    """Wait, with a deadline, for what no event tells."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.005)


@asynccontextmanager
async def world(
    folder: Path, more: Mapping[str, object] = MappingProxyType({})
) -> AsyncIterator[World]:
    """Serve one table on every protocol that is installed, with a user for each role.

    Args:
        folder: Empty.
        more: Settings.
    """
    (folder / "app").mkdir()
    (folder / "app" / "schema.graphql").write_text(SCHEMA)
    plugins = tuple(find_plugins())
    ports = {row.name: 0 for row in settings_table(plugins).rows if row.name in _PORTS}
    flags: dict[str, object] = {**ports, "admin.password": PASSWORD, "threads.count": 1, **more}
    launch = Launch(
        load_application(folder / "app"),
        settings_table(plugins).load(flags=flags),
        plugins,
        folder / "data",
        authorize_local=False,
    )
    worker = Worker(launch)
    ready = await worker.start()
    try:
        assert worker._node is not None
        made = World(ready, worker, worker._node)
        await _define(made.node)
        options = made.seen.options(omit_current=True)
        made.node.database.subscribe("Sensor/#", made.seen, TRUSTED, options).start()
        async with AsyncExitStack() as stack:
            await made.listen(stack)
            yield made
    finally:
        await worker.stop()


_PORTS: Final = ("http.port", "operationsApi.network.port", "mqtt.network.port")


async def _define(node: Node) -> None:
    hashed = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    users = Users(node.engine, node.writer)
    for role, rights in ROLES.items():
        if role != "super_user":
            tables = {"Sensor": rights}
            await node.roles.put(RoleDefinition(role, databases={"data": tables}))
        await users.put(User(role, hashed, role))
    await until(lambda: node.tail.position == node.engine.position)
