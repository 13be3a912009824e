"""The seam between the HTTP port and protocols that live inside a WebSocket (RFC 6455).

A protocol registers a factory by the name of its sub-protocol with
``scope.http.upgrade("mqtt", factory)``. When a client offers that name, on any path,
the guard logs it in, checks its Origin, answers the upgrade and makes our small framer
(`framer.py`), which calls the factory's connection with bytes: borders of frames mean
nothing to it. No ASGI task is involved.
"""

from __future__ import annotations

from typing import Any, Protocol

from lyredb.protocols.http.request import Request
from lyredb.security.authenticator import Account


class UpgradedTransport(Protocol):
    """What carries an upgraded connection's bytes; shaped like `asyncio.Transport`."""

    def write(self, data: bytes) -> None:
        """Send as one binary frame; buffered without limit, see `get_write_buffer_size`."""

    def close(self) -> None:
        """Send what is buffered and a close frame (1000), then close."""

    def abort(self) -> None:
        """Close at once."""

    def is_closing(self) -> bool:
        """True once ``close`` or ``abort`` was called or the peer is gone."""

    def pause_reading(self) -> None:
        """Read no more from the peer."""

    def resume_reading(self) -> None:
        """Undo ``pause_reading``; a second call does nothing."""

    def get_write_buffer_size(self) -> int:
        """Bytes that wait for the peer."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """As for `asyncio.Transport`: when ``pause_writing`` and ``resume_writing`` come."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As for `asyncio.Transport`: ``peername``, ``socket`` and so on."""


class UpgradedConnection(Protocol):
    """A connection of the protocol inside."""

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone; called exactly once, last."""

    def pause_writing(self) -> None:
        """More than the high-water mark waits for the peer."""

    def resume_writing(self) -> None:
        """Less than the low-water mark waits again."""

    def shutdown(self) -> None:
        """The server stops: say goodbye in the protocol's own words and close."""


class UpgradeFactory(Protocol):
    """Makes the connection inside."""

    def __call__(
        self, transport: UpgradedTransport, request: Request, account: Account | None
    ) -> UpgradedConnection:
        """Called when the upgrade was answered.

        Args:
            transport: Where bytes go.
            request: The upgrade request; its ``Accept`` and ``Content-Type`` choose
                formats.
            account: Who logged in by the request; ``None`` when it brought no
                credentials, so that the protocol asks for its own.
        """
