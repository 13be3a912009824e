"""The plugin: listens on the MQTT port and takes upgrades of the HTTP port."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TypeAlias, cast

from lyredb.operations.rollcall import Attendant
from lyredb.plugins.network import ClientCertificates, Peer, PeerProtocol, Serving
from lyredb.plugins.scope import Address, Scope
from lyredb.plugins.settings import Setting
from lyredb.protocols.mqtt.attending import attend
from lyredb.protocols.mqtt.bridge_file import SETTING as BRIDGES
from lyredb.protocols.mqtt.bridge_file import read_bridges
from lyredb.protocols.mqtt.bridges import RUNNERS, Bridges
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.listener import TcpConnection, known_account
from lyredb.protocols.mqtt.relayed import read_relayed
from lyredb.protocols.mqtt.service import Service
from lyredb.protocols.mqtt.settings import MQTT_SETTINGS
from lyredb.protocols.mqtt.shared import SHARE, shared_opener
from lyredb.protocols.mqtt.statistics import MqttStatistics
from lyredb.protocols.mqtt.sys_topics import SYS, DatabaseSource, SysTopics
from lyredb.protocols.mqtt.tracing import Tracing
from lyredb.protocols.mqtt.upgrade import SUBPROTOCOLS, Upgrades
from lyredb.protocols.net.certificates import require_secure_port
from lyredb.protocols.net.unix import bind_unix
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator
from lyredb.sessions.claims_client import Claims
from lyredb.sessions.group_session import GroupSessions
from lyredb.sessions.groups import Groups
from lyredb.sessions.store import Sessions

MqttScope: TypeAlias = Scope[Database, Authenticator]


class MqttPlugin:
    """MQTT 3.1, 3.1.1 and 5 (a `lyredb.plugins.scope.ProtocolPlugin`)."""

    name = "mqtt"
    settings: Sequence[Setting] = MQTT_SETTINGS

    def __init__(self) -> None:
        self._scope: MqttScope | None = None
        self._service: Service | None = None
        self._sys: SysTopics | None = None
        self._serving: list[Serving] = []
        self._bridges: Bridges | None = None
        self._unix_path = ""

    def prepare(self, scope: MqttScope) -> None:
        """Take the scope and upgrades. Runs on the event loop that will serve."""
        self._scope = scope
        loop = asyncio.get_running_loop()
        self._service = Service(
            scope.resources,
            scope.authenticator,
            Limits.of(scope.settings, scope.workers),
            Claims(scope.calls),
            Sessions(
                scope.resources.session_store, call_later=loop.call_later, call_soon=loop.call_soon
            ),
            worker=str(scope.worker) if scope.tell_worker else "",
            loop=loop,
        )
        read_relayed(scope.resources)
        self._share(scope, self._service)
        self._sys = self._sys_topics(scope, self._service)
        bridges = read_bridges(scope.settings.text(BRIDGES))
        if bridges and scope.worker in RUNNERS:
            self._bridges = Bridges(self._service, bridges)
        attend(self._service, Attendant(scope.calls), scope.worker)
        service = self._service
        tracing = Tracing(scope.calls, lambda: service.connections, asyncio.get_running_loop())
        service.tap_for = tracing.tap_for
        if scope.settings.flag("mqtt.webSocket"):
            upgrades = Upgrades(self._service, authorize_local=scope.authorize_local)
            for subprotocol in SUBPROTOCOLS:
                scope.http.upgrade(subprotocol, upgrades)

    def _share(self, scope: MqttScope, service: Service) -> None:
        """Have shared subscriptions opened, with the other workers."""
        database = scope.resources
        groups = Groups(
            scope.worker,
            database,
            database.peers,
            scope.calls,
            service.call_soon,
            GroupSessions(service.sessions, service.limits.max_session_expiry_s),
        )
        service.openers[SHARE] = shared_opener(groups, database)

    def _sys_topics(self, scope: MqttScope, service: Service) -> SysTopics | None:
        """Have ``$SYS`` opened, where it is wanted."""
        interval_s = scope.settings.seconds("mqtt.sysInterval")
        if not interval_s:
            return None
        is_open = scope.settings.text("mqtt.sysReaders") == "everybody"
        topics = SysTopics(
            DatabaseSource(scope.resources, is_open=is_open),
            scope.numbers,
            interval_s=interval_s,
            version=version("lyredb"),
            now_s=time.time,
        )
        service.openers[SYS] = topics.open
        scope.resources.on_access_change(topics.access_changed)
        return topics

    async def start(self) -> Sequence[Address]:
        """Listen on ``mqtt.network.port`` and ``mqtt.network.securePort``.

        Raises:
            SettingError: The port cannot be had, or nobody would be asked for a certificate.
        """
        scope, service = self._scope, self._service
        if scope is None or service is None:
            raise RuntimeError("prepare comes before start")
        require_secure_port(scope.settings, "mqtt.network")
        known = known_account(service, authorize_local=scope.authorize_local)

        def connect(peer: Peer) -> TcpConnection:
            return TcpConnection(service, peer, known(peer))

        clients = cast(ClientCertificates, scope.settings.text("mqtt.network.mtls"))
        addresses = []
        for name, scheme, certificates in (
            ("mqtt.network.port", "mqtt", None),
            ("mqtt.network.securePort", "mqtts", clients),
        ):
            for sock in scope.listeners(name):
                addresses.append(Address(scheme, *sock.getsockname()[:2]))
                serving = await scope.network.serve(sock, connect, certificates=certificates)
                self._serving.append(serving)
        await self._listen_to_unix(scope, connect)
        if self._sys is not None:
            self._sys.start()
        if self._bridges is not None:
            self._bridges.start()
        return addresses

    async def _listen_to_unix(self, scope: MqttScope, connect: PeerProtocol) -> None:
        """Serve a Unix socket, where one is wanted: one worker does, as it cannot be shared."""
        path = scope.settings.text("mqtt.network.unixSocket")
        if not path or scope.worker not in RUNNERS:
            return
        mode = scope.settings.text("mqtt.network.unixSocketMode")
        sock = bind_unix(path, mode, "mqtt.network.unixSocket")
        self._unix_path = path
        self._serving.append(await scope.network.serve(sock, connect, is_proxied=False))

    def _leave_unix(self) -> None:
        """Take the file of the Unix socket away."""
        path, self._unix_path = self._unix_path, ""
        if path:
            Path(path).unlink(missing_ok=True)

    async def stop(self, deadline_s: float) -> None:
        """Accept nothing more; then as `Service.stop`."""
        while self._serving:
            self._serving.pop().close()
        self._leave_unix()
        if self._bridges is not None:
            await self._bridges.stop()
        if self._sys is not None:
            await self._sys.stop()
        if self._service is not None:
            await self._service.stop(deadline_s)

    def statistics(self) -> MqttStatistics:
        """A snapshot of the counters."""
        if self._service is None:
            raise RuntimeError("prepare comes before statistics")
        return self._service.statistics()
