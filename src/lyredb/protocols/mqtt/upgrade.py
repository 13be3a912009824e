"""MQTT over WebSocket (MQTT 5 §6): the same connection, fed by the HTTP port's framer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lyredb.errors import NotAcceptable
from lyredb.formats import FORMATS, JSON, negotiate
from lyredb.plugins.delivery import Format
from lyredb.protocols.http.request import Request
from lyredb.protocols.http.upgrade import UpgradedConnection, UpgradedTransport
from lyredb.protocols.mqtt.connection import Connection
from lyredb.protocols.mqtt.service import Service
from lyredb.protocols.net.addresses import is_loopback
from lyredb.security.authenticator import Account

SUBPROTOCOLS: Final = ("mqtt", "mqttv3.1")
"""[MQTT-6.0.0-4]; the second is what clients of MQTT 3.1 offer, from before the standard."""


class WebSocketTransport:
    """An upgraded transport in the shape that a connection writes to."""

    __slots__ = ("_inner", "abort", "close", "pause_reading", "resume_reading")

    def __init__(self, inner: UpgradedTransport) -> None:
        self._inner = inner
        self.close: Callable[[], None] = inner.close
        self.abort: Callable[[], None] = inner.abort
        self.pause_reading: Callable[[], None] = inner.pause_reading
        self.resume_reading: Callable[[], None] = inner.resume_reading

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send as one binary frame [MQTT-6.0.0-1]."""
        self._inner.write(data if isinstance(data, bytes) else bytes(data))

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the peer."""
        return self._inner.get_write_buffer_size()


class Upgrades:
    """Makes a connection of each upgrade (a `lyredb.protocols.http.upgrade.UpgradeFactory`).

    Args:
        service: What all connections share.
        authorize_local: Loopback peers without credentials are the super user.
    """

    def __init__(self, service: Service, *, authorize_local: bool) -> None:
        self._service = service
        self._authorize_local = authorize_local

    def __call__(
        self, transport: UpgradedTransport, request: Request, account: Account | None
    ) -> UpgradedConnection:
        """See `lyredb.protocols.http.upgrade.UpgradeFactory`.

        Formats are those of the upgrade: ``Accept`` for what is sent, ``Content-Type``
        for what comes. No web page of another site gets here: the guard has refused
        its Host, Origin and Sec-Fetch-Site.
        """
        if account is None and self._authorize_local and is_loopback(request.peer):
            account = self._service.authenticator.local
        limits = self._service.limits
        transport.set_write_buffer_limits(limits.high_water_bytes, limits.low_water_bytes)
        return Connection(
            WebSocketTransport(transport),
            self._service,
            address=request.peer,
            account=account,
            format=_accepted(request.header(b"accept")),
            content_type=request.header(b"content-type"),
        )


def _accepted(accept: str) -> Format:
    """JSON where nothing of ours is accepted: the upgrade has been answered already."""
    try:
        return negotiate(accept, FORMATS)
    except NotAcceptable:
        return JSON
