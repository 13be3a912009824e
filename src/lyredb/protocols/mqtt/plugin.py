"""The plugin: listens on the MQTT port and takes upgrades of the HTTP port."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeAlias

from lyredb.plugins.scope import Address, Scope
from lyredb.plugins.settings import Setting
from lyredb.protocols.mqtt.limits import Limits
from lyredb.protocols.mqtt.listener import TcpConnection
from lyredb.protocols.mqtt.service import Service
from lyredb.protocols.mqtt.settings import MQTT_SETTINGS
from lyredb.protocols.mqtt.statistics import MqttStatistics
from lyredb.protocols.mqtt.upgrade import SUBPROTOCOL, Upgrades
from lyredb.resources.database import Database
from lyredb.security.authenticator import Authenticator

MqttScope: TypeAlias = Scope[Database, Authenticator]


class MqttPlugin:
    """MQTT 3.1.1 and 5 (a `lyredb.plugins.scope.ProtocolPlugin`)."""

    name = "mqtt"
    settings: Sequence[Setting] = MQTT_SETTINGS

    def __init__(self) -> None:
        self._scope: MqttScope | None = None
        self._service: Service | None = None
        self._server: asyncio.Server | None = None

    def prepare(self, scope: MqttScope) -> None:
        """Take the scope and upgrades. Runs on the event loop that will serve."""
        self._scope = scope
        self._service = Service(
            scope.resources,
            scope.authenticator,
            Limits.of(scope.settings),
            loop=asyncio.get_running_loop(),
        )
        if scope.settings.flag("mqtt.webSocket"):
            upgrades = Upgrades(self._service, authorize_local=scope.authorize_local)
            scope.http.upgrade(SUBPROTOCOL, upgrades)

    async def start(self) -> Sequence[Address]:
        """Listen on ``mqtt.network.port``.

        Raises:
            SettingError: The port cannot be had.
        """
        scope, service = self._scope, self._service
        if scope is None or service is None:
            raise RuntimeError("prepare comes before start")
        (sock,) = scope.listeners("mqtt.network.port")
        self._server = await asyncio.get_running_loop().create_server(
            lambda: TcpConnection(service, authorize_local=scope.authorize_local), sock=sock
        )
        name = sock.getsockname()
        return [Address("mqtt", str(name[0]), int(name[1]))]

    async def stop(self, deadline_s: float) -> None:
        """Accept nothing more; then as `Service.stop`."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._service is not None:
            await self._service.stop(deadline_s)

    def statistics(self) -> MqttStatistics:
        """A snapshot of the counters."""
        if self._service is None:
            raise RuntimeError("prepare comes before statistics")
        return self._service.statistics()
