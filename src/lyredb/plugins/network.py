"""The seam between listening sockets and protocols: who connects, and how it is let in.

A plugin gets its sockets from ``scope.listeners`` and serves them through
``scope.network``, which counts and limits connections by address, reads the PROXY
protocol and speaks TLS. The plugin's protocol objects see none of that: they get a
`Peer`, and a transport of plain bytes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Literal, Protocol, TypeAlias

ClientCertificates = Literal["false", "true", "required"]
"""Whether clients are asked for a certificate, and whether they need one (mutual TLS)."""


class Peer:
    """Who is at the other end of an accepted connection.

    Attributes:
        host: Its address; with the PROXY protocol the one that the proxy names.
        port: Its port, 0 when it is not known.
        is_secure: The bytes come over TLS.
        certificate_name: The common name in the client's certificate, which was verified;
            ``""`` without one. It names a user.
    """

    __slots__ = ("_leave", "certificate_name", "host", "is_secure", "port")

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        *,
        is_secure: bool = False,
        certificate_name: str = "",
        leave: Callable[[str], None] | None = None,
    ) -> None:
        """Note who is there.

        Args:
            host: See the attributes.
            port: See the attributes.
            is_secure: See the attributes.
            certificate_name: See the attributes.
            leave: Called once with ``host``, when the connection is gone.
        """
        self.host = host
        self.port = port
        self.is_secure = is_secure
        self.certificate_name = certificate_name
        self._leave = leave

    @property
    def address(self) -> str:
        """Host and port, for logs."""
        return f"{self.host}:{self.port}" if self.port else self.host

    def leave(self) -> None:
        """Say that the connection is gone; a second call does nothing.

        Whatever protocol object the transport has at its end calls it in
        ``connection_lost``: the place that the connection took is free from then on.
        """
        leave, self._leave = self._leave, None
        if leave is not None:
            leave(self.host)


PeerProtocol: TypeAlias = Callable[[Peer], asyncio.Protocol]
"""Makes the protocol object of one connection, which must call `Peer.leave` at its end."""


class Serving(Protocol):
    """A socket that is accepted from."""

    def close(self) -> None:
        """Accept nothing more; connections stay. A second call does nothing."""


class Network(Protocol):
    """What all listeners of one process share."""

    async def serve(
        self,
        sock: socket.socket,
        factory: PeerProtocol,
        *,
        certificates: ClientCertificates | None = None,
        is_proxied: bool = True,
    ) -> Serving:
        """Accept connections of a bound, listening socket, which is owned from now on.

        Args:
            sock: From ``scope.listeners``.
            factory: See `PeerProtocol`.
            certificates: ``None`` for plain bytes; else TLS with the files of the settings
                ``tls.*``, and this about certificates of clients.
            is_proxied: False for a port that looks after the server: whatever the setting
                ``network.proxyProtocol``, it is no proxy's, and it answers when all
                ``network.maxConnections`` are taken.

        Raises:
            SettingError: The files for TLS are missing or wrong.
        """
