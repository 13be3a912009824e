"""What a connection needs of whatever carries its bytes: TCP, or a WebSocket."""

from __future__ import annotations

from typing import Protocol

from lyredb.protocols.mqtt.outbox import Wire


class Transport(Wire, Protocol):
    """The part of `asyncio.Transport` that a connection uses."""

    def close(self) -> None:
        """Send what is buffered, then close."""

    def abort(self) -> None:
        """Close at once."""

    def pause_reading(self) -> None:
        """Read no more from the peer."""

    def resume_reading(self) -> None:
        """Undo ``pause_reading``."""
