"""From a listening socket to protocols: what all listeners of one process share."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from lyredb.plugins.network import ClientCertificates, PeerProtocol
from lyredb.plugins.scope import Settings
from lyredb.protocols.net.addresses import is_loopback
from lyredb.protocols.net.admission import Admission, AdmissionLimits, AdmissionStatistics
from lyredb.protocols.net.certificates import LOOK_S, CertificateFiles, Certificates
from lyredb.protocols.net.entrance import Entrance, Gate
from lyredb.protocols.net.proxy import trusted_proxies

BACKLOG: Final = 2048
"""Connections that the system has accepted and we have not; as many as it allows by default
on a busy server (``net.core.somaxconn`` is 4,096)."""

logger: Final = logging.getLogger("lyredb.net")


@dataclass(frozen=True, slots=True)
class NetworkStatistics:
    """Connections, and what went wrong before they reached a protocol."""

    connections: AdmissionStatistics
    failed_headers: int
    failed_handshakes: int
    failed_reloads: int


class Listening:
    """One socket that is accepted from (a `lyredb.plugins.network.Serving`)."""

    def __init__(self, server: asyncio.Server, gate: Gate) -> None:
        self._server = server
        self.gate = gate

    def close(self) -> None:
        """Accept nothing more, and end who has not become anybody's connection yet."""
        self._server.close()
        self.gate.close()

    async def wait_closed(self) -> None:
        """Return at once: connections belong to protocols, which wait for them."""


class Network:
    """See `lyredb.plugins.network.Network`.

    Args:
        admission: Who is let in.
        files: For TLS.
        is_proxy: Tells proxies by their address; ``None``: there are none.
        handshake_timeout_s: For a PROXY header, and for the handshake of TLS.
        workers: How many processes share the limits.
        may_wait: See `Certificates`.
    """

    def __init__(
        self,
        admission: Admission,
        *,
        files: CertificateFiles | None = None,
        is_proxy: Callable[[str], bool] | None = None,
        handshake_timeout_s: float = 10.0,
        workers: int = 1,
        may_wait: bool = False,
    ) -> None:
        self.admission = admission
        self.certificates = Certificates(files or CertificateFiles("", ""), may_wait=may_wait)
        self._is_proxy = is_proxy
        self._timeout_s = handshake_timeout_s
        self._workers = workers
        self._gates: list[Gate] = []
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, settings: Settings, *, workers: int = 1, may_wait: bool = False) -> Network:
        """Read everything from the settings in force.

        Args:
            settings: In force.
            workers: How many processes share the limits of the whole server.
            may_wait: The files for TLS worked when the server started: serve without TLS
                where they do not now, until they do.

        Raises:
            SettingError: ``network.proxyTrusted`` names something that is no network.
        """
        is_proxy = None
        if settings.text("network.proxyProtocol") == "required":
            is_proxy = trusted_proxies(settings.text("network.proxyTrusted"))

        def is_exempt(host: str) -> bool:
            return is_loopback(host) or (is_proxy is not None and is_proxy(host))

        return cls(
            Admission(limits_of(settings).shared_by(workers), is_exempt=is_exempt),
            files=CertificateFiles.of(settings),
            is_proxy=is_proxy,
            handshake_timeout_s=settings.seconds("network.handshakeTimeout"),
            workers=workers,
            may_wait=may_wait,
        )

    async def serve(
        self,
        sock: socket.socket,
        factory: PeerProtocol,
        *,
        certificates: ClientCertificates | None = None,
        is_proxied: bool = True,
    ) -> Listening:
        """See `lyredb.plugins.network.Network.serve`."""
        gate = Gate(
            self.admission,
            factory,
            context=None if certificates is None else self.certificates.context(certificates),
            is_proxy=self._is_proxy if is_proxied else None,
            timeout_s=self._timeout_s,
            is_reserved=not is_proxied,
        )
        self._gates.append(gate)
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if sock.family == socket.AF_UNIX else loop.create_server
        server = await create(lambda: Entrance(gate), sock=sock, backlog=BACKLOG)
        if certificates is not None and self._timer is None:
            self._timer = loop.call_later(LOOK_S, self._look, loop)
        return Listening(server, gate)

    def apply(self, settings: Settings) -> None:
        """Take limits that were changed, and look at the files for TLS now."""
        self.admission.limits = limits_of(settings).shared_by(self._workers)
        self.certificates.refresh()

    def close(self) -> None:
        """Look at files no more. Listeners are closed by those who serve them."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def statistics(self) -> NetworkStatistics:
        """The numbers of this moment."""
        return NetworkStatistics(
            connections=self.admission.statistics(),
            failed_headers=sum(gate.failed_headers for gate in self._gates),
            failed_handshakes=sum(gate.failed_handshakes for gate in self._gates),
            failed_reloads=self.certificates.failed_reloads,
        )

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.certificates.refresh()
        self._timer = loop.call_later(LOOK_S, self._look, loop)


def limits_of(settings: Settings) -> AdmissionLimits:
    """Return the limits of the whole server."""
    return AdmissionLimits(
        connections=settings.integer("network.maxConnections"),
        per_address=settings.integer("network.maxConnectionsPerAddress"),
        per_second=settings.integer("network.connectRate"),
    )
