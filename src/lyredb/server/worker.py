"""One worker: a node, every protocol and the listeners, in one event loop.

Ports are bound before the first administrator is made, so that a start that fails for a
port that is in use leaves no password that nobody was told of.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from lyredb.operations.status import ProcessStatus, memory_of
from lyredb.plugins.network import ClientCertificates
from lyredb.plugins.scope import Address, ProcessNumbers, Scope
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.cors import Cors
from lyredb.protocols.http.limits import HttpLimits
from lyredb.protocols.http.server import HttpServer
from lyredb.protocols.net import Network
from lyredb.resources.access_watch import watch_users
from lyredb.security.authenticator import Authenticator
from lyredb.security.passwords import Passwords
from lyredb.security.users import Users
from lyredb.server.admin import ensure_first_admin
from lyredb.server.announcement import Ports, ready_of
from lyredb.server.composition import Plugin
from lyredb.server.core_settings import attempts_of, open_topics, query_limits, storage_settings
from lyredb.server.desk import Desk
from lyredb.server.external_logins import ExternalLogins
from lyredb.server.launch import Launch
from lyredb.server.lifecycle import STOP_S, Step, run_steps
from lyredb.server.listening import Listeners, listen_error, port_row
from lyredb.server.logins import http_logins
from lyredb.server.logs import reload as reload_logs
from lyredb.server.metrics.meter import Meter
from lyredb.server.metrics.rooms import plugin_sources
from lyredb.server.metrics.snapshot import Source
from lyredb.server.node import Node
from lyredb.server.processes.standing import connections_of
from lyredb.server.ready import Ready
from lyredb.server.reload import Reload
from lyredb.server.welcome import PRIORITY, Welcome
from lyredb.tables.schema import Schema

PROTOCOLS_S: Final = 3.0
"""For answers in flight and goodbyes, all protocols at the same time."""
NODE_S: Final = 1.0
OPERATIONS_S: Final = 0.5

_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seat:
    """What a worker has in a server of several processes.

    Attributes:
        number: Its own, from 1.
        node: Attached to the writer and to the other workers.
        listeners: Its sockets, by setting.
        lack: Returns what the writer has no space for, ``""`` for nothing.
        is_successor: The server was ready before this process was started.
    """

    number: int
    node: Node
    listeners: Mapping[str, Sequence[socket.socket]]
    lack: Callable[[], str]
    is_successor: bool = False


class Worker:
    """Serves one application. `start` once, then `stop` once.

    Attributes:
        reload: Applies changed settings.

    Args:
        launch: What to serve.
        seat: In a server of several processes; ``None``: this one is all.
    """

    def __init__(self, launch: Launch, seat: Seat | None = None) -> None:
        self._launch = launch
        self._seat = seat
        inherited = None if seat is None else seat.listeners
        self._listeners = Listeners(launch.settings, launch.rows, inherited)
        self.reload = Reload()
        self.reload(reload_logs)
        self._node = None if seat is None else seat.node
        self._has_stopped = False
        self._authenticator: Authenticator | None = None
        self._logins: ExternalLogins | None = None
        self._http: HttpServer | None = None
        self._operations: HttpServer | None = None
        self._network: Network | None = None
        self._desk: Desk | None = None
        self._meter: Meter | None = None
        self._prepared: list[Plugin] = []

    async def start(self) -> Ready:
        """Open the data directory and listen; on return the server accepts connections.

        Raises:
            LyreError: The data directory cannot be opened, or an address not be
                listened on. Everything that was opened is closed again.
        """
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self, within_s: float = STOP_S) -> None:
        """Accept nothing more, finish what is in flight, close. A second call does nothing."""
        if self._has_stopped:
            return
        self._has_stopped = True
        for port in self._ports():
            port.stopping = True
        await run_steps(
            [
                Step("protocols", self._stop_protocols, PROTOCOLS_S),
                Step("the node", self._close_node, NODE_S),
                # Last, so that whoever asks for the health learns why it is gone.
                Step("the operations port", self._stop_operations, OPERATIONS_S),
            ],
            within_s=within_s,
        )
        self._listeners.close()

    async def evolve(self, schema: Schema) -> list[str]:
        """Bring the store to other tables, where this process is all; see `Store.evolve`."""
        assert self._node is not None, "started"
        assert self._node.store is not None, "several processes ask the writer"
        return await self._node.store.evolve(schema)

    async def _start(self) -> Ready:
        launch, settings = self._launch, self._launch.settings
        node = self._node = self._open_node()
        passwords = Passwords()
        users = Users(node.engine, node.writer)
        logins = self._logins = ExternalLogins(settings, users, node.roles.is_super_user)
        authenticator = self._authenticator = Authenticator(
            users,
            passwords,
            attempts=attempts_of(settings),
            cache_ttl_s=settings.seconds("authentication.cacheTTL"),
            rehash=users.rehash,
            elsewhere=logins.elsewhere,
        )
        await logins.start()
        watch_users(node.tail, authenticator, node.database)
        login = http_logins(launch, node, users, authenticator)
        http, operations = self._bind(node, login)
        listeners = await self._start_plugins(node, authenticator, http)
        meter = self._meter = self._meter_of(node, authenticator)
        meter.mount(operations, login, anonymous=settings.text("metrics.anonymous"))
        admin = None
        if self._seat is None:  # else it is the writer's business
            admin = await ensure_first_admin(launch, users, passwords)
            await self._open_desk(node, meter)
        secure = [address for address in http.addresses if address.scheme == "https"]
        ports = Ports(http.address, operations.address, {"https": secure, **listeners})
        ready = ready_of(launch, ports, admin)
        if launch.authorize_local:
            welcome = Welcome(ready, login)
            http.mount("welcome", welcome.wants, welcome.answer, priority=PRIORITY)
        await http.start()
        await operations.start()
        meter.start()
        return ready

    def _meter_of(self, node: Node, authenticator: Authenticator) -> Meter:
        """Have everything here counted; the plugins are prepared."""
        sources: dict[str, Source] = {"authenticator": authenticator.statistics}
        if self._network is not None:
            sources["network"] = self._network.statistics
        for name, port in (("http", self._http), ("operations", self._operations)):
            if port is not None:
                sources[name] = port.statistics
        sources |= plugin_sources(self._prepared)
        return Meter(node, sources, worker=0 if self._seat is None else self._seat.number)

    async def _open_desk(self, node: Node, meter: Meter) -> None:
        async def passed(position: int) -> None:
            node.tail.advance_to(position)

        async def processes() -> list[ProcessStatus]:
            told = connections_of(meter.take())
            pid = os.getpid()
            return [ProcessStatus("server", pid, 0, node.tail.position, told, memory_of(pid))]

        assert node.store is not None, "this process is all"
        assert node.store.broker is not None, "it serves"
        desk = Desk(
            self._launch,
            node.engine,
            node.writer,
            node.store.broker,
            passed=passed,
            processes=processes,
        )
        self._desk = desk
        self.reload(desk.reload)
        await desk.open()

    def _open_node(self) -> Node:
        launch = self._launch
        if self._seat is not None:
            return self._seat.node
        return Node.open(
            launch.data_dir,
            launch.application.schema,
            storage=storage_settings(launch.settings),
            open_topics=open_topics(launch.settings),
            query_limits=query_limits(launch.settings),
            will_grace_s=launch.settings.seconds("mqtt.willGrace"),
        )

    def _bind(self, node: Node, login: Authentication) -> tuple[HttpServer, HttpServer]:
        """Take both HTTP ports; nothing is accepted yet."""
        launch, settings = self._launch, self._launch.settings
        limits = HttpLimits.of(settings)

        def health() -> str:
            return node.engine.failure or node.writer.failure

        def lack() -> str:
            return node.engine.full or ("" if self._seat is None else self._seat.lack())

        network = self._network = Network.of(
            settings,
            workers=launch.workers,
            may_wait=self._seat is not None and self._seat.is_successor,
        )
        self.reload(network.apply)
        self._http = HttpServer(
            self._listeners("http.port"),
            limits,
            network=network,
            secure=self._listeners("http.securePort"),
            client_certificates=cast(ClientCertificates, settings.text("http.mtls")),
            worker=0 if self._seat is None else self._seat.number,
            tell_worker=settings.flag("threads.tell"),
            authentication=login,
            health=health,
            lack=lack,
            web=launch.application.web,
            cors=Cors.of(settings),
        )
        self._operations = HttpServer(
            self._listeners("operationsApi.network.port"),
            limits,
            network=network,
            is_proxied=False,
            worker=0 if self._seat is None else self._seat.number,
            health=health,
            lack=lack,
        )
        return self._http, self._operations

    async def _start_plugins(
        self, node: Node, authenticator: Authenticator, http: HttpServer
    ) -> dict[str, Sequence[Address]]:
        """Start every protocol; return the addresses of each that has its own."""
        launch = self._launch
        assert self._network is not None, "bound first"
        host = launch.settings.text("network.host")
        scope = Scope(
            settings=launch.settings,
            resources=node.database,
            authenticator=authenticator,
            http=http,
            host=host,
            listeners=self._listeners,
            network=self._network,
            on_reload=self.reload,
            calls=node.calls,
            authorize_local=launch.authorize_local,
            worker=0 if self._seat is None else self._seat.number,
            workers=launch.workers,
            tell_worker=launch.settings.flag("threads.tell"),
            numbers=self._numbers,
        )
        for plugin in launch.plugins:
            plugin.prepare(scope)
            self._prepared.append(plugin)
        listeners = {}
        for plugin in launch.plugins:
            try:
                listeners[plugin.name] = await plugin.start()
            except OSError as error:
                row = port_row(plugin.settings)
                if row is None:
                    raise
                port = launch.settings.integer(row.name)
                raise listen_error(error, row, host=host, port=port) from error
        return listeners

    async def _numbers(self) -> Sequence[ProcessNumbers]:
        """What all processes counted; nothing before the plugins have started."""
        return () if self._meter is None else await self._meter.collected()

    def _ports(self) -> list[HttpServer]:
        return [port for port in (self._http, self._operations) if port is not None]

    async def _stop_protocols(self, within_s: float) -> None:
        """End listeners, plugins and HTTP together: each waits for peers of its own."""
        stops = [plugin.stop(within_s) for plugin in reversed(self._prepared)]
        if self._http is not None:
            stops.append(self._http.stop(within_s))
        for failure in await asyncio.gather(*stops, return_exceptions=True):
            if isinstance(failure, Exception):
                _logger.error("stopping: a protocol failed", exc_info=failure)

    async def _close_node(self, _: float) -> None:
        if self._meter is not None:
            self._meter.stop()
        if self._desk is not None:
            await self._desk.close()
        if self._logins is not None:
            await self._logins.stop()
        if self._authenticator is not None:
            await self._authenticator.close()
        if self._node is not None:
            await self._node.close()

    async def _stop_operations(self, within_s: float) -> None:
        if self._operations is not None:
            await self._operations.stop(within_s)
        if self._network is not None:
            self._network.close()
