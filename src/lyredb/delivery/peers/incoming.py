"""What comes from one worker: its messages, what it wants, what it knows.

Messages are told here as if they had been published here by somebody with all rights
(the publisher's were looked at where it is), except that they are not forwarded again.
Before a batch the log is told up to the position that its sender had told: a message
never comes before the write that it followed. Writes of a record that are under way
here hold its messages back like any other (`lyredb.delivery.fence`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from lyredb.delivery.message import Message
from lyredb.delivery.peers.wire import (
    BATCH,
    INTEREST,
    LANE,
    NOTE,
    RAW,
    Damaged,
    FrameReader,
    Interest,
    Note,
    PackedLane,
    items_of,
    unpack_interest,
    unpack_known,
    unpack_lane,
    unpack_message,
    unpack_note,
)
from lyredb.errors import InvalidTopic, LyreError
from lyredb.security.principals import Role

if TYPE_CHECKING:
    from lyredb.delivery.ingress import Ingress

RawReader = Callable[["Ingress", bytes], int]
"""Feeds whole frames of one kind into an ingress; returns how many it had to refuse."""

RELAYED: Final = Role("peers", super_user=True)
"""Whose messages come from another worker, where the publisher's rights were decided."""

_log = logging.getLogger(__name__)


class Incoming:
    """The receiving side of one worker.

    Attributes:
        received: Messages that came.
        refused: Those among them that could not be told here.

    Args:
        advance_to: Tells the log up to a position.
        ingress_of: Returns the way in of a lane.
        readers: Who reads raw frames, by kind.
        on_interest: Called with each change of what the peer wants.
        on_known: Called with each number that it acknowledges.
        on_note: Called with each note.
    """

    def __init__(
        self,
        *,
        advance_to: Callable[[int], None],
        ingress_of: Callable[[PackedLane], Ingress],
        readers: Mapping[str, RawReader],
        on_interest: Callable[[Interest], None],
        on_known: Callable[[int], None],
        on_note: Callable[[Note], None],
    ) -> None:
        self._advance_to = advance_to
        self._ingress_of = ingress_of
        self._readers = readers
        self._on_interest = on_interest
        self._on_known = on_known
        self._on_note = on_note
        self._frames = FrameReader()
        self._lanes: dict[int, Ingress] = {}
        self._logged: set[str] = set()
        self.received = 0
        self.refused = 0

    def feed(self, data: bytes) -> None:
        """Take what was read.

        Raises:
            Damaged: It is not what a peer sends; nothing more may be fed.
        """
        for kind, body in self._frames.feed(data):
            if kind == BATCH:
                self._take_batch(body)
            elif kind == INTEREST:
                self._take_interest(body)
            elif kind == NOTE:
                self._on_note(unpack_note(body))
            else:
                self._on_known(unpack_known(body))

    def _take_interest(self, body: bytes) -> None:
        try:
            self._on_interest(unpack_interest(body))
        except InvalidTopic as error:
            raise Damaged(f"a filter that is none: {error}") from error

    def _take_batch(self, body: bytes) -> None:
        after, items = items_of(body)
        self._advance_to(after)
        for kind, lane, count, data in items:
            if kind == LANE:
                self._lanes[lane] = self._ingress_of(unpack_lane(data))
                continue
            ingress = self._lanes.get(lane)
            if ingress is None:
                raise Damaged(f"lane {lane} was not introduced")
            self.received += count
            try:
                if kind == RAW:
                    self._take_run(ingress, data, count)
                else:
                    self._take_message(ingress, data)
            except Exception:
                # What fails in one item must not cost the worker the ones that follow.
                _log.exception("messages from another worker failed")
                self.refused += count

    def _take_run(self, ingress: Ingress, frames: bytes, count: int) -> None:
        reader = self._readers.get(ingress.raw)
        if reader is None:
            self._refuse(count, f"nobody here reads frames of the kind {ingress.raw!r}")
            return
        refused = reader(ingress, frames)
        if refused:
            self._refuse(refused, f"frames of the kind {ingress.raw!r} were refused")

    def _take_message(self, ingress: Ingress, data: bytes) -> None:
        packed = unpack_message(data)
        try:
            path = ingress.path(packed.topic)
            if path.destination.kind != "direct":
                raise InvalidTopic("its messages go through the log here")
        except LyreError as error:
            self._refuse(1, f"a message to {packed.topic!r} was refused: {error}")
            return
        if path.idle:
            return
        message = Message.direct(
            packed.topic,
            packed.payload,
            path.destination,
            qos=packed.qos,
            retain=packed.retain,
            content_type=packed.content_type,
            properties=packed.properties,
            session=packed.session,
            expires_ms=packed.expires_ms,
            local_ms=packed.local_ms,
        )
        ingress.push(path, message, None)

    def _refuse(self, count: int, because: str) -> None:
        """Count, and log the first of each kind: a table may be gone for a moment."""
        self.refused += count
        kind = because.partition(":")[0][:40]
        if kind not in self._logged and len(self._logged) < 100:
            self._logged.add(kind)
            _log.warning("from another worker: %s", because)
