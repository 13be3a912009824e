"""A real node behind a real HTTP port in the test's loop, with the plugins that a test names."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lyredb.plugins.context import Context
from lyredb.plugins.scope import Scope
from lyredb.plugins.settings import Setting, SettingValue
from lyredb.protocols.http import Authentication, HttpLimits, HttpServer
from lyredb.protocols.http.settings import HTTP_SETTINGS
from lyredb.resources.requests import Write
from lyredb.security.principals import SUPER_USER
from lyredb.server.listening import Listeners
from lyredb.server.node import Node
from lyredb.server.reload import Reload
from lyredb.server.settings import SettingsInForce
from lyredb.tables.sdl import parse_sdl
from tests.protocols.http.harness import DEADLINE_S, LOGIN, RawClient, Reply, TestPort, running

SCHEMA = """
type Sensor @table @export {
    id: ID @primaryKey
    value: Float
    site: String @indexed
    raw: Bytes
}
type Counter @table @export { id: Int @primaryKey n: Int }
type Strict @table @export @sealed { id: ID @primaryKey name: String! }
type Quiet @table @export(rest: false, sse: false, ws: false) { id: ID @primaryKey }
"""
ADMIN_CONTEXT = Context(SUPER_USER, "python")


@dataclass
class TestNode(TestPort):
    """A port with a database behind it; requests are logged in unless told otherwise."""

    __test__ = False
    node: Node = None  # type: ignore[assignment]  # always given
    plugins: Sequence[Any] = ()

    async def call(
        self, method: str, path: str, body: bytes = b"", *, head: bytes = b"", login: bytes = LOGIN
    ) -> Reply:
        """One request."""
        return await self.ask(method, path, login + head, body)

    async def put(self, path: str, value: Mapping[str, object]) -> None:
        """Write a record as code in the same process does."""
        target = self.node.database.resolve(path, ADMIN_CONTEXT)
        await self.node.database.write(Write(target, "put", value=value), ADMIN_CONTEXT)

    async def delete(self, path: str) -> None:
        target = self.node.database.resolve(path, ADMIN_CONTEXT)
        await self.node.database.write(Write(target, "delete"), ADMIN_CONTEXT)

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message that is no record."""
        self.node.database.publish(topic, payload, ADMIN_CONTEXT)

    async def stop(self) -> None:
        """Stop as a worker does: plugins and HTTP together."""
        stops = [plugin.stop(2.0) for plugin in self.plugins]
        await asyncio.gather(*stops, self.server.stop(2.0))


def settings_of(plugins: Sequence[Any], changed: Mapping[str, SettingValue]) -> SettingsInForce:
    rows: list[Setting] = [*HTTP_SETTINGS, *(row for one in plugins for row in one.settings)]
    return SettingsInForce({row.name: row.default for row in rows} | dict(changed))


@asynccontextmanager
async def serving(
    *plugins: Any,
    schema: str = SCHEMA,
    open_topics: bool = False,
    authorize_local: bool = False,
    web: Path | None = None,
    settings: Mapping[str, SettingValue] | None = None,
    limits: HttpLimits | None = None,
) -> AsyncIterator[TestNode]:
    """Open a node in a temporary folder and serve it by these plugins."""
    with tempfile.TemporaryDirectory() as folder:
        node = Node.open(Path(folder), parse_sdl(schema), open_topics=open_topics)

        def prepare(server: HttpServer, users: Authentication) -> None:
            in_force = settings_of(plugins, settings or {})
            rows = [row for plugin in plugins for row in plugin.settings]
            scope: Scope[Any, Any] = Scope(
                settings=in_force,
                resources=node.database,
                authenticator=users.authenticator,
                http=server,
                host="127.0.0.1",
                listeners=Listeners(in_force, rows),
                network=server.network,
                on_reload=Reload(),
                calls=node.calls,
                authorize_local=authorize_local,
            )
            for plugin in plugins:
                plugin.prepare(scope)

        async with running(
            web=web, authorize_local=authorize_local, prepare=prepare, limits=limits
        ) as port:
            for plugin in plugins:
                await plugin.start()
            yield TestNode(port.server, port.clients, node, plugins)
            for plugin in plugins:
                await plugin.stop(2.0)
        await node.close()


async def until(holds: Callable[[], bool]) -> None:
    """Wait, with a deadline, for what no event tells."""
    async with asyncio.timeout(DEADLINE_S):
        while not holds():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.01)


__all__ = ["LOGIN", "RawClient", "Reply", "TestNode", "serving", "until"]
