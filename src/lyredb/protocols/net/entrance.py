"""The first moments of a connection: admitted, told apart, encrypted, handed over.

An `Entrance` is the protocol of a socket's transport until it knows who is there. Order:
admission by the connection's own address, PROXY header, admission by the address in it, TLS,
protocol. Whoever is not through within the time limit is cut off.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

from lyredb.plugins.network import Peer, PeerProtocol
from lyredb.protocols.net.addresses import UNIX
from lyredb.protocols.net.admission import Admission
from lyredb.protocols.net.certificates import common_name
from lyredb.protocols.net.proxy import HEADER_BYTES, MAX_BYTES, ProxyHeaderError, parse_header
from lyredb.protocols.net.secure import SecureTransport

logger: Final = logging.getLogger("lyredb.net")


class Gate:
    """What the connections of one listener share.

    Attributes:
        failed_headers: PROXY headers that were wrong, late, or of nobody trusted.
        failed_handshakes: Handshakes of TLS that failed or were late.
        entering: Who is in the entrance and has a time limit.
        leave: Frees the place of an address.

    Args:
        admission: Who is let in.
        factory: Makes the protocol of a connection.
        context: Gives the context for TLS of this moment; ``None`` for plain bytes.
        is_proxy: Tells proxies; ``None`` when clients connect themselves.
        timeout_s: For a PROXY header, and for a handshake.
        is_reserved: Its connections may take the places that others may not.
    """

    def __init__(
        self,
        admission: Admission,
        factory: PeerProtocol,
        *,
        context: Callable[[], ssl.SSLContext] | None,
        is_proxy: Callable[[str], bool] | None,
        timeout_s: float,
        is_reserved: bool = False,
    ) -> None:
        self.admission = admission
        self.factory = factory
        self.context = context
        self.is_proxy = is_proxy
        self.timeout_s = timeout_s
        self.is_reserved = is_reserved
        self.failed_headers = 0
        self.failed_handshakes = 0
        self.entering: set[Entrance] = set()
        self.leave: Final = admission.leave  # one bound method for all peers

    def close(self) -> None:
        """Cut off whoever is still in the entrance."""
        for entrance in list(self.entering):
            entrance.abort()


class Entrance(asyncio.Protocol):
    """See the module; one per connection until it is handed over.

    Args:
        gate: Of its listener.
    """

    __slots__ = ("_data", "_gate", "_peer", "_timer", "_transport")

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._data = b""
        self._peer = Peer()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Decide whether anything of it is read at all."""
        tcp = self._transport = cast(asyncio.Transport, transport)
        host, port = peer_name(tcp)
        if not self._admit(host, port):
            return
        gate = self._gate
        if gate.is_proxy is None:
            self._go_on(b"")
        elif gate.is_proxy(host):
            self._wait()
        else:
            self._fail_header(f"{host} is none of network.proxyTrusted")

    def data_received(self, data: bytes) -> None:
        """A part of the PROXY header, or more than that."""
        self._data += data
        try:
            header = parse_header(self._data)
        except ProxyHeaderError as error:
            self._fail_header(str(error))
            return
        if header is None:
            assert len(self._data) < HEADER_BYTES + MAX_BYTES, "the parser's own bound"
            return
        self._end_wait()
        rest, self._data = self._data[header.size :], b""
        if header.host:
            self._peer.leave()
            if not self._admit(header.host, header.port):
                return
        self._go_on(rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer left before it was known, or was cut off."""
        self._end_wait()
        self._peer.leave()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def _admit(self, host: str, port: int) -> bool:
        gate = self._gate
        if gate.admission.enter(host, is_reserved=gate.is_reserved):
            self.abort()
            return False
        self._peer = Peer(host, port, leave=gate.leave)
        return True

    def _go_on(self, data: bytes) -> None:
        """Hand over, or begin with TLS.

        Args:
            data: What came behind a PROXY header.
        """
        gate, tcp = self._gate, self._transport
        assert tcp is not None, "connected"
        if gate.context is None:
            self._hand_over(tcp)
            inner: asyncio.BaseProtocol = tcp.get_protocol()
        else:
            inner = SecureTransport(  # type: ignore[assignment]  # the methods of a protocol
                tcp, gate.context(), secured=self._secured, failed=self._fail_handshake
            )
            tcp.set_protocol(inner)
            self._wait()
        if data:
            cast(asyncio.Protocol, inner).data_received(data)

    def _hand_over(self, transport: asyncio.Transport) -> None:
        protocol = self._gate.factory(self._peer)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _secured(self, secure: SecureTransport) -> asyncio.Protocol:
        self._end_wait()
        self._peer.is_secure = True
        self._peer.certificate_name = common_name(secure.ssl_object)
        try:
            return self._gate.factory(self._peer)
        except BaseException:
            self._peer.leave()  # nobody else will
            raise

    def _wait(self) -> None:
        """Begin with something that has a time limit."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._gate.timeout_s, self._expire)
        self._gate.entering.add(self)

    def _end_wait(self) -> None:
        self._gate.entering.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        if self._gate.is_proxy is not None and not self._is_shaking_hands:
            self._fail_header("its header took too long")
        else:
            self.abort()

    @property
    def _is_shaking_hands(self) -> bool:
        return self._transport is not None and self._transport.get_protocol() is not self

    def _fail_header(self, reason: str) -> None:
        self._gate.failed_headers += 1
        logger.debug("PROXY: closed a connection of %s: %s", self._peer.address, reason)
        self._end_wait()
        self.abort()

    def _fail_handshake(self, reason: str) -> None:
        self._gate.failed_handshakes += 1
        logger.debug("TLS: closed a connection of %s: %s", self._peer.address, reason)
        self._end_wait()
        self._peer.leave()


def peer_name(transport: asyncio.Transport) -> tuple[str, int]:
    """Return host and port of a socket's other end, ``("", 0)`` when it is gone."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return UNIX, 0
    name = transport.get_extra_info("peername")
    if isinstance(name, tuple) and len(name) >= 2:
        return str(name[0]), int(name[1])
    return "", 0
