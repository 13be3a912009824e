"""What a path forwards: the same bytes for each worker that wants the topic.

Where publishers of a raw kind only have others to tell, or readers of their own kind,
runs go on as they came. Everything else is packed once and given to all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lyredb.delivery.peers.wire import MESSAGE, PackedMessage, pack
from lyredb.formats import FORMATS
from lyredb.plugins.delivery import Publisher

if TYPE_CHECKING:
    from lyredb.delivery.message import Message
    from lyredb.delivery.peers.peer import Peer

LANE_TYPES: Final = frozenset(("", *(one.media_type for one in FORMATS)))
"""Content types that a lane can say of payloads that say none: not known, or a format of
ours. A client may name any other, and each would make a lane."""
OTHER_TYPE: Final = "*"
"""Stands for all others; only messages that say their own leave such a lane."""


class Lane:
    """Publishers whose messages are read in the same way by who gets them.

    Attributes:
        number: Names it on the wire.
        protocol: Of the publishers; decides which topic is which record.
        raw: The kind of their frames, ``""`` for none.
        content_type: Of payloads that say none.
        carries_raw: Whether frames may be forwarded unparsed.
    """

    __slots__ = ("carries_raw", "content_type", "number", "protocol", "raw")

    def __init__(self, number: int, protocol: str, raw: str, content_type: str) -> None:
        self.number = number
        self.protocol = protocol
        self.raw = raw
        self.content_type = content_type
        self.carries_raw = bool(raw) and content_type != OTHER_TYPE

    def __repr__(self) -> str:
        return f"<lane {self.number} {self.protocol} {self.raw} {self.content_type}>"


class Lanes:
    """All lanes of a worker; few, as protocols and formats are few."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, str, str], Lane] = {}
        self._relays: dict[tuple[Lane, tuple[Peer, ...]], Relay] = {}

    def lane(self, protocol: str, raw: str, content_type: str) -> Lane:
        """Return the lane of such publishers."""
        key = (protocol, raw, content_type)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(len(self._lanes), *key)
        return lane

    def relay(self, lane: Lane, peers: tuple[Peer, ...]) -> Relay:
        """Return what forwards to these peers; one object for equal ones."""
        key = (lane, peers)
        relay = self._relays.get(key)
        if relay is None:
            relay = self._relays[key] = Relay(lane, peers)
        return relay

    def forget(self, peer: Peer) -> None:
        """Keep nothing of a peer that is gone."""
        self._relays = {key: one for key, one in self._relays.items() if peer not in key[1]}


class Relay:
    """Forwards what is published on a lane to some peers.

    Attributes:
        lane: Which.
        peers: To whom; at least one.
    """

    __slots__ = ("lane", "peers")

    def __init__(self, lane: Lane, peers: tuple[Peer, ...]) -> None:
        self.lane = lane
        self.peers = peers

    def push_run(
        self, frames: bytes, count: int, publisher: Publisher | None, *, acknowledged: bool
    ) -> None:
        """Forward raw frames.

        Args:
            frames: Of the lane's kind, nothing but whole ones.
            count: How many.
            publisher: Who may be paused.
            acknowledged: Whether they are above QoS 0, which is not lost lightly.
        """
        lane = self.lane
        for peer in self.peers:
            if peer.admits(len(frames), count, publisher, acknowledged=acknowledged):
                peer.add_run(lane, frames, count)

    def push(self, message: Message, publisher: Publisher | None, raw: bytes) -> None:
        """Forward one message.

        Args:
            message: Direct.
            publisher: Who may be paused.
            raw: The frame as received when it is good as it is, else ``b""``.
        """
        qos = message.qos
        if raw and self.lane.carries_raw and not message.retain:
            self.push_run(raw, 1, publisher, acknowledged=qos > 0)
            return
        packed = packed_message(message)
        for peer in self.peers:
            if peer.admits(len(packed), 1, publisher, acknowledged=qos > 0):
                peer.add(MESSAGE, self.lane, packed)


def packed_message(message: Message) -> bytes:
    """All that a worker needs to tell a direct message as if it had come there."""
    return pack(
        PackedMessage(
            message.topic,
            message.data,
            message.qos,
            message.retain,
            message.content_type,
            message.properties,
            message.session,
            message.expires_ms,
            message.local_ms,
        )
    )
