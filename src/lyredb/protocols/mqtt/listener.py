"""MQTT over TCP and TLS: from asyncio's protocol to a connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias, cast

from lyredb.plugins.network import Peer
from lyredb.protocols.mqtt.connection import Connection
from lyredb.protocols.mqtt.service import Service
from lyredb.protocols.net.addresses import is_loopback
from lyredb.security.audit import note_login
from lyredb.security.authenticator import Account

KnownAccount: TypeAlias = Callable[[Peer], Account | None]
"""Whom a listener knows a peer to be before its CONNECT; None when it does not know."""


class TcpConnection(asyncio.Protocol):
    """Passes what asyncio reads to a `Connection`.

    Args:
        service: What all connections share.
        peer: Who it is.
        account: Whom the listener knows it to be.
    """

    __slots__ = ("_account", "_connection", "_peer", "_service")

    def __init__(self, service: Service, peer: Peer, account: Account | None) -> None:
        self._service = service
        self._peer = peer
        self._account = account
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A peer is there."""
        tcp = cast(asyncio.Transport, transport)
        if self._service.is_crowded:
            tcp.abort()
            return
        limits = self._service.limits
        tcp.set_write_buffer_limits(limits.high_water_bytes, limits.low_water_bytes)
        self._connection = Connection(
            tcp,
            self._service,
            address=self._peer.address,
            host=self._peer.host,
            account=self._account,
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
        self._peer.leave()
        if self._connection is not None:
            self._connection.connection_lost(exc)


def known_account(service: Service, *, authorize_local: bool) -> KnownAccount:
    """Return what tells whom a listener knows a peer to be.

    A certificate names its user; one that no active user has leaves the peer unknown, who
    may still log in by a password.

    Args:
        service: Has the users.
        authorize_local: Loopback peers without credentials are the super user.
    """
    authenticator = service.authenticator

    def known(peer: Peer) -> Account | None:
        if peer.certificate_name:
            account = authenticator.by_name(peer.certificate_name)
            note_login(
                peer.certificate_name,
                accepted=account is not None,
                strategy="certificate",
                address=peer.host,
                protocol="mqtt",
            )
            return account
        return authenticator.local if authorize_local and is_loopback(peer.host) else None

    return known
