"""MQTT over TCP: the listener and the adapter from asyncio's protocol to a connection."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import cast

from lyredb.protocols.mqtt.connection import Connection
from lyredb.protocols.mqtt.service import Service


class TcpConnection(asyncio.Protocol):
    """Passes what asyncio reads to a `Connection`.

    Args:
        service: What all connections share.
        authorize_local: Loopback peers without credentials are the super user.
    """

    __slots__ = ("_authorize_local", "_connection", "_service")

    def __init__(self, service: Service, *, authorize_local: bool) -> None:
        self._service = service
        self._authorize_local = authorize_local
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer is there."""
        tcp = cast(asyncio.Transport, transport)
        if self._service.is_crowded:
            tcp.abort()
            return
        limits = self._service.limits
        tcp.set_write_buffer_limits(limits.high_water_bytes, limits.low_water_bytes)
        host, address = _peer(tcp.get_extra_info("peername"))
        local = self._authorize_local and is_loopback(host)
        self._connection = Connection(
            tcp,
            self._service,
            address=address,
            account=self._service.authenticator.local if local else None,
        )

    def data_received(self, data: bytes) -> None:
        """Bytes of the peer."""
        if self._connection is not None:
            self._connection.feed(data)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        if self._connection is not None:
            self._connection.pause_writing()

    def resume_writing(self) -> None:
        """The transport's buffer is below its low-water mark."""
        if self._connection is not None:
            self._connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone."""
        if self._connection is not None:
            self._connection.connection_lost(exc)


def _peer(name: object) -> tuple[str, str]:
    """Host, and host with port, of a socket's peer name."""
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), f"{name[0]}:{name[1]}"
    return "", str(name or "")


def is_loopback(host: str) -> bool:
    """True for 127.0.0.0/8, ::1, and the former written as IPv6."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)
