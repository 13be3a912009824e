"""What a client publishes and the hot loop left: decoded, decided and answered one by one.

Retained messages are writes of records; messages that durable sessions want, and all of QoS 2
from a durable session, go through the log. Both are acknowledged after their commit. What is
logged out of the hot loop goes the same way, several messages at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from lyredb.delivery.ingress import Ingress
from lyredb.delivery.message import Message
from lyredb.delivery.routes import Path
from lyredb.errors import LyreError
from lyredb.formats import format_for_content_type
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Format, Publisher
from lyredb.protocols.mqtt import encode, exactly_once, replies
from lyredb.protocols.mqtt.acks import AckQueue, Pending
from lyredb.protocols.mqtt.ahead import Ahead
from lyredb.protocols.mqtt.aliases import Aliases
from lyredb.protocols.mqtt.decode import decode_publish
from lyredb.protocols.mqtt.exactly_once import ExactlyOnce
from lyredb.protocols.mqtt.messages import check_topic, expires_ms, retained_write
from lyredb.protocols.mqtt.packets import V5, Publish
from lyredb.protocols.mqtt.properties import NONE, Property
from lyredb.protocols.mqtt.reasons import Reason, Violation
from lyredb.protocols.mqtt.replies import Replies
from lyredb.protocols.mqtt.service import Service
from lyredb.resources.logged import LoggedMessage
from lyredb.resources.requests import Written
from lyredb.sessions.inbound import Inbound, MemoryInbound
from lyredb.storage.apply import Rows

_FRAME = 4
"""Bytes of an acknowledgement that says success."""


class Owner(exactly_once.Owner, replies.Owner, Publisher, Protocol):
    """The connection, as publishing needs it."""


class OneByOne:
    """Made with the first message that needs it; most clients publish nothing.

    Attributes:
        exactly: The handshakes of QoS 2.

    Args:
        owner: The connection.
        service: What all connections share.
        context: Whose rights decide.
        version: Of the protocol.
        acks: Where answers go.
        ingress: Where messages go that do not last.
        inbound: What the session remembers of QoS 2; None for one without a memory.
        format: Of payloads that say none.
        content_type: The same as it was said, ``""`` for nothing known.
    """

    __slots__ = (
        "_acks",
        "_ahead",
        "_aliases",
        "_content_type",
        "_context",
        "_format",
        "_ingress",
        "_is_waited_for",
        "_owner",
        "_replies",
        "_service",
        "_version",
        "exactly",
    )

    def __init__(
        self,
        owner: Owner,
        service: Service,
        context: Context,
        version: int,
        acks: AckQueue,
        ingress: Ingress,
        inbound: Inbound | None,
        *,
        format: Format,
        content_type: str,
    ) -> None:
        is_v5 = version == V5
        limits = service.limits
        self._owner = owner
        self._service = service
        self._context = context
        self._version = version
        self._acks = acks
        self._ingress = ingress
        self._format = format
        self._content_type = content_type
        self._is_waited_for = False
        self._ahead = Ahead(limits, acks, is_v5=is_v5)
        self._aliases = Aliases(limits.topic_alias_maximum)
        self._replies = Replies(owner, acks, service.counters, context.session, is_v5=is_v5)
        self.exactly = ExactlyOnce(owner, inbound or MemoryInbound(), acks, version)

    def handle_publish(self, data: bytes, position: int, body: int, end: int) -> None:
        """Decode and act on one PUBLISH of any form.

        Raises:
            Violation: The packet ends the connection.
        """
        packet = decode_publish(data[position], data[body:end], self._version)
        topic = packet.topic if packet.properties is NONE else self._aliases.topic_of(packet)
        if packet.qos == 2 and self.exactly.is_known(packet.packet_id):
            self.exactly.repeat(packet.packet_id)
            return
        if packet.qos and self._version == V5:
            self._check_quota()
        self._service.counters.received += 1
        pending = self._acks.reserve(1, packet.packet_id, packet.qos) if packet.qos else None
        try:
            check_topic(topic, self._service.limits)
            if packet.retain:
                self._write(packet, topic, pending)
            else:
                self._publish(packet, topic, pending, data[position:end], body - position)
        except LyreError as error:
            self._replies.refuse(pending, error)
        if self._ahead.is_too_far:
            self._wait()

    def _check_quota(self) -> None:
        """Hold a v5 client to its Receive Maximum [MQTT-3.3.4-7].

        Others are not read while too many wait for the disk; what they have not released
        is bounded by the number of packet identifiers.
        """
        limit = self._service.limits.receive_maximum
        if self._acks.outstanding + self.exactly.outstanding >= limit:
            raise Violation(
                Reason.RECEIVE_MAXIMUM_EXCEEDED,
                f"More than {limit} messages without their acknowledgement",
            )

    def _publish(
        self, packet: Publish, topic: bytes, pending: Pending | None, frame: bytes, body: int
    ) -> None:
        """Publish a message that is not retained, by the log where that is due.

        Args:
            packet: Decoded from ``frame``.
            topic: Of the message, its alias resolved.
            pending: The place of its acknowledgement.
            frame: The whole packet.
            body: Offset of the body in it.
        """
        path = self._ingress.path(topic)
        if pending is not None and self.must_log(path, packet.qos):
            self._log_one(packet, path, pending)
            return
        if not path.idle:
            self._deliver(packet, path, frame, body)
        if pending is not None and packet.qos == 2:
            self.exactly.ids.add(packet.packet_id)
        self._replies.accept(pending)

    def must_log(self, path: Path, qos: int) -> bool:
        """Tell whether a message of QoS 1 or 2 goes through the log."""
        return path.is_logged or (qos == 2 and self.exactly.is_durable)

    def _deliver(self, packet: Publish, path: Path, frame: bytes, body: int) -> None:
        """Deliver to whoever listens now."""
        content_type = packet.properties.text(Property.CONTENT_TYPE) or self._content_type
        message = Message.direct(
            path.topic,
            packet.payload,
            path.destination,
            qos=packet.qos,
            content_type=content_type,
            properties=packet.properties.forward,
            session=self._context.session,
            expires_ms=expires_ms(packet.properties, self._service.now_ms()),
        )
        if self._may_pass_unchanged(packet, content_type):
            raw_id = body + packet.id_offset if packet.qos else 0
            self._ingress.push(path, message, self._owner, frame, raw_id)
        else:
            self._ingress.push(path, message, self._owner)

    def _may_pass_unchanged(self, packet: Publish, content_type: str) -> bool:
        """A frame passes to readers of its kind unless something in it is to change."""
        if packet.duplicate or packet.properties.has(Property.MESSAGE_EXPIRY):
            return False
        if packet.properties.has(Property.TOPIC_ALIAS):
            return False
        return format_for_content_type(content_type) in (None, self._format)

    # --- what goes to the disk

    def _log_one(self, packet: Publish, path: Path, pending: Pending) -> None:
        message = LoggedMessage(
            path.destination,
            packet.payload,
            packet.qos,
            packet.properties.text(Property.CONTENT_TYPE) or self._content_type,
            packet.properties.forward,
            expires_ms(packet.properties, self._service.now_ms()),
        )
        size = len(packet.payload)
        self._service.begin_write()
        self._ahead.begin(size, is_acknowledged=True)
        done = partial(self._end_one, pending, size)
        self._service.database.log((message,), self._context, done, self._expect(pending))

    def _write(self, packet: Publish, topic: bytes, pending: Pending | None) -> None:
        """Write a retained message as a record; it is acknowledged after its commit."""
        write = retained_write(
            self._service,
            self._context,
            topic,
            packet.payload,
            packet.qos,
            packet.properties,
            self._content_type,
        )
        size = len(packet.payload)
        self._service.begin_write()
        self._ahead.begin(size, is_acknowledged=pending is not None)
        done = partial(self._end_one, pending, size)
        rows = self._expect(pending) if packet.qos == 2 else ()
        try:
            self._service.database.submit(write, self._context, done, rows)
        except LyreError as error:
            done(error)

    def _expect(self, pending: Pending | None) -> Rows:
        """The rows that commit with a message, so that it is known when it comes again."""
        if pending is None or pending.qos != 2:
            return ()
        return self.exactly.expect((pending.packet_id,))

    def log(
        self, messages: Sequence[LoggedMessage], ids: Sequence[bytes], frames: bytearray, held: int
    ) -> None:
        """Log messages of the hot loop; all that it acknowledges with them waits for that.

        Args:
            messages: In their order.
            ids: Their packet identifiers, two bytes each.
            frames: The acknowledgements of these messages and of others, four bytes each.
            held: Messages of QoS 2 among the others: their identifiers are counted.
        """
        twice = [
            int.from_bytes(number, "big")
            for number, message in zip(ids, messages, strict=True)
            if message.qos == 2
        ]
        rows = self.exactly.expect(twice) if twice else ()
        pending = self._acks.reserve(len(frames) // _FRAME - held)
        size = sum([len(message.payload) for message in messages])
        self._service.begin_write()
        self._ahead.begin(size, is_acknowledged=True)
        done = partial(self._end_batch, pending, frames, messages, ids, twice, size)
        self._service.database.log(messages, self._context, done, rows)
        if self._ahead.is_too_far:
            self._wait()

    def _end_one(
        self, pending: Pending | None, size: int, result: Written | int | LyreError
    ) -> None:
        self._service.end_write()
        self._ahead.end(size, is_acknowledged=pending is not None)
        error = result if isinstance(result, LyreError) else None
        repeated: Sequence[Pending] = ()
        if pending is not None and pending.qos == 2:
            repeated = self.exactly.settle((pending.packet_id,), is_received=error is None)
        if not self._owner.is_open:
            return
        if error is None:
            self._replies.accept(pending)
        else:
            self._replies.refuse(pending, error)
        self._go_on(repeated, error)

    def _end_batch(
        self,
        pending: Pending,
        frames: bytearray,
        messages: Sequence[LoggedMessage],
        ids: Sequence[bytes],
        twice: Sequence[int],
        size: int,
        result: int | LyreError,
    ) -> None:
        self._service.end_write()
        self._ahead.end(size, is_acknowledged=True)
        error = result if isinstance(result, LyreError) else None
        repeated = self.exactly.settle(twice, is_received=error is None)
        if not self._owner.is_open:
            return
        if error is None:
            self._acks.decide(pending, frames, remembered=len(twice))
        else:
            refused = {
                (b"\x50\x02" if message.qos == 2 else b"\x40\x02") + number
                for number, message in zip(ids, messages, strict=True)
            }
            self._replies.refuse_some(pending, frames, refused, error)
        self._go_on(repeated, error)

    def _go_on(self, repeated: Sequence[Pending], error: LyreError | None) -> None:
        """Answer what came again meanwhile, and read the client again if it is near."""
        for one in repeated:
            if error is None:
                self._acks.decide(one, encode.pubrec(one.packet_id))
            else:
                self._replies.refuse(one, error)
        self._owner.answers_ready()
        if self._is_waited_for and self._ahead.is_near_again:
            self._is_waited_for = False
            self._owner.resume_reading(self)

    def _wait(self) -> None:
        self._is_waited_for = True
        self._owner.pause_reading(self)
