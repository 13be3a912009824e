"""What waits for one client, and who is told when it does and when it does not any more.

Publishers are slowed down while their reader is congested, and current states go on when
it has drained; what all clients together have waiting is counted in `buffers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lyredb.plugins.delivery import Subscriber
from lyredb.protocols.mqtt.buffers import Holder
from lyredb.protocols.mqtt.service import Service
from lyredb.protocols.mqtt.transport import Transport


class Owner(Subscriber, Holder, Protocol):
    """The connection."""


class Queue(Protocol):
    """The outbox, as far as it makes its client wait."""

    @property
    def queued(self) -> int:
        """Messages that wait."""

    @property
    def queued_bytes(self) -> int:
        """What those have."""

    @property
    def is_filling(self) -> bool:
        """True while it is time to slow down publishers."""

    def pump(self) -> None:
        """Send what waits, as far as window and transport have room."""


class Backlog:
    """The flow towards one connected client.

    Args:
        owner: The connection, for which it waits.
        transport: Has a buffer of its own.
        service: Counts for all, and knows who is to be told.
        outbox: Where messages wait for the client's window.
        on_drained: Current states may go on.

    Attributes:
        is_paused: The transport has more than its high-water mark.
    """

    __slots__ = (
        "_is_counted",
        "_on_drained",
        "_outbox",
        "_owner",
        "_service",
        "_told_congested",
        "_transport",
        "is_paused",
    )

    def __init__(
        self,
        owner: Owner,
        transport: Transport,
        service: Service,
        outbox: Queue,
        on_drained: Callable[[], None],
    ) -> None:
        self._owner = owner
        self._transport = transport
        self._service = service
        self._outbox = outbox
        self._on_drained = on_drained
        self.is_paused = False
        self._told_congested = False
        self._is_counted = False

    @property
    def is_congested(self) -> bool:
        """True while more waits than the high-water mark; whoever asks is told of the end."""
        if not (self.is_paused or self._outbox.is_filling):
            return False
        self._told_congested = True
        return True

    def expect(self) -> None:
        """Somebody waits for the client to drain, whether it asked or not."""
        self._told_congested = True

    def pause(self) -> None:
        """The transport has more than its high-water mark."""
        self.is_paused = True

    def resume(self) -> None:
        """The transport is below its low-water mark again."""
        self.is_paused = False
        self.pump()

    def pump(self) -> None:
        """Send what waited for the window, and tell who waited for that."""
        if self._outbox.queued:
            self._outbox.pump()
        if self._is_counted:
            self._count()
        if self._told_congested and not (self.is_paused or self._outbox.is_filling):
            self._told_congested = False
            self._service.database.drained(self._owner)
            self._on_drained()

    def grew(self) -> None:
        """Something was written: count it, while that is worth it."""
        if self.is_paused or self._outbox.queued:
            self._count()

    def _count(self) -> None:
        size = self._outbox.queued_bytes
        if self.is_paused:
            size += self._transport.get_write_buffer_size()
        self._is_counted = size > 0
        self._service.buffers.note(self._owner, size)

    def close(self) -> None:
        """Nothing waits any more."""
        if self._is_counted:
            self._is_counted = False
            self._service.buffers.note(self._owner, 0)
