"""The seam between those who speak a protocol and the delivery of messages.

A protocol brings an `Encoding` (how a message looks on its wire) and a `Subscriber`
(where bytes go); a source of messages is a `Publisher`. Delivery joins the frames of
a tick once per group of equal subscribers and hands each subscriber one `Batch`.

Classes of a plugin need the shape only: they do not inherit (a compiled class
cannot be inherited from by an interpreted one).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

EventKind = Literal["put", "delete", "message"]
"""What happened to a topic. A patch arrives as ``put`` with the whole record."""


class Format(Protocol):
    """A structured format such as JSON; see ``lyredb.formats``."""

    @property
    def name(self) -> str:
        """The short name: ``json``, ``cbor``, ``msgpack``."""

    @property
    def media_type(self) -> str:
        """The media type as it is sent."""

    def encode(self, value: object) -> bytes:
        """Encode one value."""

    def decode(self, data: bytes) -> object:
        """Decode one value. Raises `lyredb.errors.InvalidBody`."""


class Message(Protocol):
    """One thing that subscribers are told: a record's new state, its end, a message.

    Attributes:
        topic: The wire topic, UTF-8.
        kind: What happened.
        table: ``"<database>.<table>"``.
        id: The record's key as a value.
        version: On the wire (stored / 4096), 0.0 for a direct message.
        local_ms: Commit time in epoch milliseconds.
        seq: Log position, 0 for a direct message (it has none).
        qos: The publisher's quality of service, 0 to 2.
        retain: The retain flag as published.
        current: True for current state, False for a change.
        position: The position token that a subscriber resumes after, ``""`` for a
            direct message; for current state a mid-scan token.
        content_type: Of the payload as received, ``""`` when nothing was said.
        properties: MQTT 5 PUBLISH properties to forward as encoded bytes, without
            their length and without topic alias, subscription identifiers and
            message expiry; ``b""`` for none.
        expires_ms: Epoch ms after which the message is void, 0 for never.
        session: The publisher's session number, 0 for none.
    """

    topic: bytes
    kind: EventKind
    table: str
    id: object
    version: float
    local_ms: int
    seq: int
    qos: int
    retain: bool
    current: bool
    position: str
    content_type: str
    properties: bytes
    expires_ms: int
    session: int

    def value(self) -> object:
        """The decoded record or message, decoded once and only when asked for.

        A payload that is no structured value is a ``str`` when it is UTF-8, else
        ``{"contentType": ..., "data": bytes}``; ``None`` for a delete.
        """

    def payload(self, wanted: Format) -> bytes:
        """The bytes for one reader, made once per format.

        What was received as bytes passes unchanged unless it is a structured value
        of another format than ``wanted``. ``b""`` for a delete.
        """

    @property
    def is_opaque(self) -> bool:
        """True when the payload is kept as received and not as a record."""


class Encoding(Protocol):
    """How messages look on one kind of wire: protocol version x format x framing.

    Hashable; equal encodings share their frames, so it holds no connection state.
    """

    @property
    def raw(self) -> str:
        """The kind of frame that may be forwarded to this reader unparsed, ``""`` for none.

        A publisher that pushes frames of the same kind has them joined as they came.
        """

    @property
    def takes_messages(self) -> bool:
        """True for readers in process: they get `Message` objects, not frames."""

    def frame(
        self, message: Message, *, qos: int, retain: bool, ids: tuple[int, ...]
    ) -> tuple[bytes, int]:
        """Return one frame and the offset of its packet identifier in it (0 = none).

        The identifier itself is left zero; each subscriber fills in its own.

        Args:
            message: What to tell.
            qos: min(message, subscription).
            retain: The RETAIN flag to send.
            ids: Subscription identifiers.
        """


class Batch:
    """The frames of one tick for one subscriber, joined.

    Attributes:
        data: All frames, one after the other.
        ends: The end offset of each frame in ``data``; empty when no frame has a
            packet identifier (then nobody needs the borders).
        ids: For each frame the offset of its packet identifier in ``data``, 0 for a
            frame without one; as long as ``ends``.
        count: How many frames.
        droppable: True when every frame is QoS 0.
    """

    __slots__ = ("count", "data", "ends", "ids")

    def __init__(
        self, data: bytes, count: int, ends: Sequence[int] = (), ids: Sequence[int] = ()
    ) -> None:
        self.data = data
        self.count = count
        self.ends = ends
        self.ids = ids

    @property
    def droppable(self) -> bool:
        """True when every frame is QoS 0."""
        return not self.ends


class Subscriber(Protocol):
    """One reader of one connection or task.

    ``write`` and ``write_messages`` must neither block nor raise; what cannot be
    sent is buffered up to the subscriber's own limit, and beyond it the subscriber
    drops (QoS 0) or closes itself.
    """

    def write(self, batch: Batch) -> bool | None:
        """Send the frames of a tick; called once per tick, for frames that come alone at once.

        Returns:
            False when the subscriber is not congested, which spares the question.
        """

    def write_messages(self, messages: Sequence[Message]) -> None:
        """As ``write``, for encodings that take messages."""

    @property
    def is_congested(self) -> bool:
        """True while more waits for the peer than the high-water mark."""

    def close(self, reason: Exception) -> None:
        """End the subscriber (and its connection) with the protocol's own words."""


class Publisher(Protocol):
    """A connection that messages come from, which can be slowed down."""

    def pause_reading(self, why: object) -> None:
        """Stop reading from the peer until ``why`` is resumed."""

    def resume_reading(self, why: object) -> None:
        """Undo one ``pause_reading``; reading goes on when no reason is left."""
