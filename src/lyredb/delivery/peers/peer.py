"""One attached worker: what waits for it in this tick, within bounds.

A worker that does not keep up costs the others nothing: beyond the limit messages of
QoS 0 are dropped for it and counted. Publishers of QoS 1 are paused within the credit
that every slow subscriber has, and beyond twice the limit their messages are dropped
as well.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from lyredb.delivery.peers.wire import LANE, BatchWriter, PackedLane, pack
from lyredb.delivery.pressure import Awaited

if TYPE_CHECKING:
    from lyredb.delivery.peers.link import Link
    from lyredb.delivery.peers.relay import Lane
    from lyredb.delivery.pressure import Pressure, Timer
    from lyredb.plugins.delivery import Publisher

LIMIT_BYTES: Final = 8 * 1024 * 1024
"""What may wait for one worker when nothing else is said; see ``threads.peerBuffer``."""

_log = logging.getLogger(__name__)


class Peer(Awaited):
    """The sending side towards one worker.

    Attributes:
        number: The worker's.
        is_attached: False once it is gone.
        asked: The number of the last interest that it was told.
        known: The last one that it has acknowledged.
        is_silent: It did not acknowledge in time, and nobody waits for it.
        timer: Runs while an acknowledgement is outstanding.
        forwarded: Messages that were given to it.
        batches: Writes of messages.
        dropped: Messages of QoS 0 that were not.
        dropped_acknowledged: Those of QoS 1 and 2.
    """

    __slots__ = (
        "_batch",
        "_is_dirty",
        "_is_losing",
        "_lanes",
        "_limit",
        "_link",
        "_pressure",
        "_publishers",
        "_room",
        "_touch",
        "asked",
        "batches",
        "dropped",
        "dropped_acknowledged",
        "forwarded",
        "is_attached",
        "is_silent",
        "known",
        "number",
        "timer",
    )

    def __init__(
        self,
        number: int,
        link: Link,
        pressure: Pressure,
        touch: Callable[[Peer], None],
        *,
        limit_bytes: int = LIMIT_BYTES,
    ) -> None:
        """Start with nothing that waits.

        Args:
            number: The worker's.
            link: To it.
            pressure: Pauses publishers.
            touch: Called when something waits that `flush` is to send.
            limit_bytes: See the module.
        """
        super().__init__(self)
        self.number = number
        self.is_attached = True
        self.asked = self.known = 0
        self.is_silent = False
        self.timer: Timer | None = None
        self.forwarded = self.batches = self.dropped = self.dropped_acknowledged = 0
        self._link = link
        self._pressure = pressure
        self._touch = touch
        self._limit = limit_bytes
        self._room = limit_bytes
        self._batch = BatchWriter()
        self._lanes: set[Lane] = set()
        self._publishers: dict[Publisher, None] = {}
        self._is_dirty = False
        self._is_losing = False

    @property
    def waiting_bytes(self) -> int:
        """What waits for it, here and in the socket."""
        return self._batch.size_bytes + self._link.waiting_bytes

    def admits(
        self, size: int, count: int, publisher: Publisher | None, *, acknowledged: bool
    ) -> bool:
        """Tell whether there is room for messages; those that have none are counted.

        Args:
            size: Their bytes.
            count: How many.
            publisher: Who may be paused.
            acknowledged: Whether they are of QoS 1 or 2.
        """
        self._room -= size
        if self._room < 0 and not self._admits_late(size, count, acknowledged=acknowledged):
            return False
        if acknowledged and publisher is not None:
            self._publishers[publisher] = None
        if not self._is_dirty:
            self._is_dirty = True
            self._touch(self)
        self.forwarded += count
        return True

    def _admits_late(self, size: int, count: int, *, acknowledged: bool) -> bool:
        """Look again at what has drained since the last flush, then decide."""
        waiting = self.waiting_bytes + size
        self._room = self._limit - waiting
        if waiting <= (2 * self._limit if acknowledged else self._limit):
            return True
        self._room += size
        if acknowledged:
            self.dropped_acknowledged += count
        else:
            self.dropped += count
        if not self._is_losing:
            self._is_losing = True
            _log.warning("worker %d does not keep up: messages for it are dropped", self.number)
        return False

    def add_run(self, lane: Lane, frames: bytes, count: int) -> None:
        """Let frames wait that were admitted."""
        if lane not in self._lanes:
            self._introduce(lane)
        self._batch.add_run(lane.number, frames, count)

    def add(self, kind: int, lane: Lane, data: bytes) -> None:
        """Let an item wait that was admitted."""
        if lane not in self._lanes:
            self._introduce(lane)
        self._batch.add(kind, lane.number, data)

    def _introduce(self, lane: Lane) -> None:
        self._lanes.add(lane)
        packed = PackedLane(lane.protocol, lane.raw, lane.content_type)
        self._batch.add(LANE, lane.number, pack(packed))

    def flush(self, after: int) -> None:
        """Send what waits.

        Args:
            after: The log position that this worker has told.
        """
        self._is_dirty = False
        publishers, self._publishers = self._publishers, {}
        if not self.is_attached:
            return
        self.batches += 1
        self._link.send(b"".join(self._batch.take(after)))
        self._room = self._limit - self._link.waiting_bytes
        if self._room < 0 and publishers:
            self._pressure.hold_back(publishers, self)

    def send(self, frames: list[bytes]) -> None:
        """Send frames that are no messages."""
        self._link.send(b"".join(frames))

    def drained(self) -> None:
        """Nothing waits in the socket any more."""
        self._room = self._limit - self._batch.size_bytes
        self._is_losing = False
        self._pressure.release(self)

    def close(self) -> None:
        """It is gone: nothing is sent any more, and nobody waits for it."""
        self.is_attached = False
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self._pressure.release(self)
        self._link.close()
