"""What a client publishes: the hot loop over plain frames, and everything else.

A plain frame (no RETAIN, no DUP, no properties, QoS 0 or 1) whose topic has been
seen is not decoded: runs of such frames go to delivery as slices of what was read,
one call per run. Frames that go on like the one before are not even looked at one by one
(`lyredb.protocols.mqtt.stretches`). Every other PUBLISH is decoded and validated in full. Retained
messages are writes of records; they are acknowledged after their commit.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Protocol

from lyredb.delivery.group import Group
from lyredb.delivery.message import Message
from lyredb.delivery.routes import Path
from lyredb.errors import LyreError
from lyredb.formats import JSON, format_for_content_type
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Format, Publisher
from lyredb.protocols.mqtt import encode
from lyredb.protocols.mqtt.acks import AckQueue, Pending
from lyredb.protocols.mqtt.decode import decode_publish
from lyredb.protocols.mqtt.encoding import raw_kind
from lyredb.protocols.mqtt.errors import answer_for, sentence_of
from lyredb.protocols.mqtt.messages import check_topic, expires_ms, retained_write
from lyredb.protocols.mqtt.packets import V5, Publish
from lyredb.protocols.mqtt.properties import Property
from lyredb.protocols.mqtt.reasons import Reason, Violation
from lyredb.protocols.mqtt.service import Service
from lyredb.protocols.mqtt.stretches import ENOUGH, SPAN
from lyredb.resources.requests import Written

logger = logging.getLogger("lyredb.mqtt")

_PUBACK = b"\x40\x02"
_SLICE_BYTES = 65_536
"""What `Publishing.take` loops over before the connection looks at the clock again."""
_LEAST_WAIT = 256
_MOST_WAIT = 16_384
"""Bytes until it looks for a stretch again, after there was none: doubled each time, so
that looking in vain costs 2 % of what the frames cost."""


def _pubacks(data: bytes, at: int, end: int, step: int, count: int) -> bytearray:
    """PUBACKs with the ``count`` identifiers that stand from ``at`` on at this distance."""
    frames = bytearray(_PUBACK + b"\x00\x00") * count
    frames[2::4] = data[at:end:step]
    frames[3::4] = data[at + 1 : end : step]
    return frames


class Owner(Publisher, Protocol):
    """The connection, as publishing needs it."""

    @property
    def is_open(self) -> bool:
        """True while answers can be sent."""

    def answers_ready(self) -> None:
        """Acknowledgements are ready outside of a read."""

    def fail(self, error: Exception) -> None:
        """End the connection because of an error that another try may not meet."""

    def sentence(self, text: str) -> str:
        """The text, or ``""`` when this client must not get reason strings."""


class Publishing:
    """The publishing side of one connection.

    Attributes:
        acks: Acknowledgements in the order of arrival.

    Args:
        owner: The connection.
        service: What all connections share.
        context: Whose rights decide.
        version: 4 or 5.
        content_type: Of payloads that say none themselves, ``""`` for nothing known.
    """

    __slots__ = (
        "_content_type",
        "_context",
        "_format",
        "_ingress",
        "_is_v5",
        "_logged",
        "_look_in",
        "_owner",
        "_paths",
        "_service",
        "_version",
        "_wait",
        "_writing_bytes",
        "_writing_unacknowledged",
        "acks",
    )

    def __init__(
        self,
        owner: Owner,
        service: Service,
        context: Context,
        version: int,
        *,
        content_type: str,
    ) -> None:
        self.acks = AckQueue()
        self._owner = owner
        self._service = service
        self._context = context
        self._version = version
        self._is_v5 = version == V5
        self._format: Format = format_for_content_type(content_type) or JSON
        self._content_type = content_type
        kind = raw_kind(version, self._format)
        self._ingress = service.database.ingress(context, kind, content_type)
        self._paths = self._ingress.paths
        self._look_in = 0
        self._wait = _LEAST_WAIT
        self._writing_unacknowledged = 0
        self._writing_bytes = 0
        self._logged: set[type[Exception]] | None = None

    def take(self, data: bytes, position: int) -> int:
        """Take plain frames of known topics from ``position`` on.

        Stops at the first frame that is something else, incomplete or malformed, or at
        the first after so many bytes, and returns where it starts; `handle_publish` or
        the connection decides about it.
        """
        # One function with locals only: this loop is the broker. A call per frame
        # costs as much as all that it does (0.3 us a frame in CPython 3.11).
        size = len(data)
        last = min(size - 4, position + _SLICE_BYTES)
        is_v5 = self._is_v5
        paths = self._paths
        largest = self._service.limits.max_packet_bytes
        # Acknowledgements that wait for a commit count against the Receive Maximum;
        # while none waits each QoS 1 frame here is acknowledged at once.
        waiting = self.acks.outstanding
        budget = self._service.limits.receive_maximum - waiting if waiting else size
        group: Group | None = None
        kind = start = count = received = 0
        before: Path | None = None
        look_at = position + self._look_in
        ends: list[int] = []
        ids: list[int] = []
        acks = bytearray()
        while position <= last:
            first = data[position]
            if first != 0x30 and first != 0x32:
                break
            body = position + 2
            length = data[position + 1]
            if length > 127:
                digit = data[body]
                body += 1
                length = (length & 127) | digit << 7
                if digit > 127:
                    digit = data[body]
                    body += 1
                    length = (length & 16_383) | digit << 14
                if digit == 0 or digit > 127:
                    break
            end = body + length
            if end > size or length < 3 or end - position > largest:
                break
            name = body + 2
            after = name + (data[body] << 8 | data[body + 1])
            if first == 0x30:
                if after + is_v5 > end or (is_v5 and data[after]):
                    break
                path = paths.get(data[name:after])
                if path is None:
                    break
                solo = path.solo0
            else:
                if after + 2 + is_v5 > end or not (data[after] or data[after + 1]):
                    break
                if is_v5 and data[after + 2]:
                    break
                path = paths.get(data[name:after])
                if path is None or budget <= 0:
                    break
                budget -= 1
                acks += _PUBACK
                acks += data[after : after + 2]
                solo = path.solo1
            received += 1
            if solo is None or solo is not group or first != kind:
                if group is not None:
                    self._push_run(group, data, start, position, count, ends, ids)
                group = solo
                kind = first
                start = position
                count = 0
                if ends:
                    ends = []
                    ids = []
                if solo is None:
                    if not path.idle:
                        self._push_frame(path, data, position, name, after, end)
                    position = end
                    continue
            count += 1
            begin = position
            position = end
            if first == 0x32:
                ends.append(end)
                ids.append(after)
            if path is not before:
                before = path
            elif end >= look_at and end < size:
                found, position = self._follow(data, begin, body, after, end, budget)
                if found and first == 0x32:
                    step = end - begin
                    budget -= found
                    acks += _pubacks(data, after + step, position, step, found)
                    ends += range(end + step, position + 1, step)
                    ids += range(after + step, position, step)
                count += found
                received += found
                last = min(size - 4, last + position - end)
                look_at = position + self._look_in
        if group is not None:
            self._push_run(group, data, start, position, count, ends, ids)
        if acks:
            self.acks.add(acks, len(acks) // 4)
        self._service.counters.received += received
        self._look_in = max(0, look_at - position)
        return position

    def _follow(
        self, data: bytes, begin: int, body: int, after: int, end: int, budget: int
    ) -> tuple[int, int]:
        """Find how many frames go on like the plain one at ``data[begin:end]``.

        Args:
            data: As received.
            begin: Where the frame begins.
            body: Where what follows its length begins.
            after: Where its topic ends.
            end: Where it ends.
            budget: How many there may be of QoS 1.

        Returns:
            How many there are, and where the last one ends. Those of QoS 1 have one size.
        """
        stretches = self._service.stretches
        is_v5 = self._is_v5
        is_qos0 = data[begin] == 0x30
        head = after + is_v5 if is_qos0 else after
        size = end - begin
        found, position = 0, end
        if data.startswith(data[begin:head], end):
            limit = len(data) if is_qos0 else min(len(data), end + budget * size)
            form = 0 if is_qos0 else 1 + is_v5
            found = stretches.of_one_size(data, begin, head, end, limit, form)
            position = end + found * size
        if is_qos0 and found < ENOUGH and size + SPAN <= self._service.limits.max_packet_bytes:
            topic = data[body:head]
            if body - begin <= 3 and data.startswith(topic, position + body - begin):
                more, position = stretches.of_several_sizes(data, position, end - body, topic)
                found += more
        self._wait = _LEAST_WAIT if found >= ENOUGH else min(2 * self._wait, _MOST_WAIT)
        self._look_in = 0 if found >= ENOUGH else self._wait
        return found, position

    def _push_run(
        self,
        group: Group,
        data: bytes,
        start: int,
        end: int,
        count: int,
        ends: list[int],
        ids: list[int],
    ) -> None:
        self._ingress.push_run(group, data, start, end, count, self._owner, ends, ids)

    def _push_frame(
        self, path: Path, data: bytes, position: int, name: int, after: int, end: int
    ) -> None:
        """Push one plain frame to several groups, or to readers of another kind."""
        qos = data[position] >> 1 & 1
        message = Message.direct(
            data[name:after],
            data[after + 2 * qos + self._is_v5 : end],
            path.destination,
            qos=qos,
            content_type=self._content_type,
            session=self._context.session,
        )
        self._ingress.push(
            path, message, self._owner, data[position:end], after - position if qos else 0
        )

    def handle_publish(self, data: bytes, position: int, body: int, end: int) -> None:
        """Decode and act on one PUBLISH of any form.

        Raises:
            Violation: The packet ends the connection.
        """
        first = data[position]
        packet = decode_publish(first, data[body:end], self._version)
        if packet.qos == 2:
            raise Violation(
                Reason.QOS_NOT_SUPPORTED, "Messages are taken with QoS 0 and 1, not with 2 yet"
            )
        limit = self._service.limits.receive_maximum
        if packet.qos and self._is_v5 and self.acks.outstanding >= limit:
            raise Violation(
                Reason.RECEIVE_MAXIMUM_EXCEEDED,
                f"More than {limit} messages without their acknowledgement",
            )
        self._service.counters.received += 1
        pending = self.acks.reserve(packet.packet_id) if packet.qos else None
        try:
            check_topic(packet.topic, self._service.limits)
            if packet.retain:
                self._write(packet, pending)
            else:
                self._deliver(packet, data[position:end], body - position)
                self._acknowledge(pending)
        except LyreError as error:
            self._refuse(pending, error)
        if self._is_too_far_ahead:
            self._owner.pause_reading(self)

    @property
    def _is_too_far_ahead(self) -> bool:
        """True when so much waits for the disk that this client is not read.

        A v5 client counts its QoS 1 messages itself, and is told when it does not.
        """
        limits = self._service.limits
        if self._writing_unacknowledged >= limits.receive_maximum:
            return True
        if self._writing_bytes > limits.unacknowledged_bytes:
            return True
        return not self._is_v5 and self.acks.outstanding >= limits.receive_maximum

    @property
    def _is_near_again(self) -> bool:
        """True when half of what may wait is free: then the client is read again."""
        limits = self._service.limits
        most = limits.receive_maximum
        return (
            self._writing_unacknowledged * 2 <= most
            and self.acks.outstanding * 2 <= most
            and self._writing_bytes * 2 <= limits.unacknowledged_bytes
        )

    def _deliver(self, packet: Publish, frame: bytes, body: int) -> None:
        """Deliver a message that is not retained to whoever listens.

        Args:
            packet: Decoded from ``frame``.
            frame: The whole packet.
            body: Offset of the body in it.
        """
        path = self._ingress.path(packet.topic)
        if path.idle:
            return
        content_type = packet.properties.text(Property.CONTENT_TYPE) or self._content_type
        message = Message.direct(
            packet.topic,
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
        return format_for_content_type(content_type) in (None, self._format)

    def _write(self, packet: Publish, pending: Pending | None) -> None:
        """Write a retained message as a record; it is acknowledged after its commit."""
        write = retained_write(
            self._service,
            self._context,
            packet.topic,
            packet.payload,
            packet.qos,
            packet.properties,
            self._content_type,
        )
        size = len(packet.topic) + len(packet.payload)
        done = partial(self._end_write, pending, size)
        self._service.begin_write()
        self._writing_bytes += size
        if pending is None:
            self._writing_unacknowledged += 1
        try:
            self._service.database.submit(write, self._context, done)
        except LyreError as error:
            done(error)

    def _end_write(self, pending: Pending | None, size: int, result: Written | LyreError) -> None:
        self._service.end_write()
        self._writing_bytes -= size
        if pending is None:
            self._writing_unacknowledged -= 1
        if not self._owner.is_open:
            return
        if isinstance(result, LyreError):
            self._refuse(pending, result)
        else:
            self._acknowledge(pending)
        self._owner.answers_ready()
        if self._is_near_again:
            self._owner.resume_reading(self)

    def _acknowledge(self, pending: Pending | None) -> None:
        if pending is not None:
            self.acks.decide(pending, encode.puback(pending.packet_id))

    def _refuse(self, pending: Pending | None, error: LyreError) -> None:
        """Answer a message that was not taken.

        v5 clients get the reason. A 3.1.1 PUBACK cannot say no: a refusal that would
        come again is acknowledged without effect, since the client could only repeat
        it for ever; for the others the connection ends without a PUBACK, and the
        client may try again when it comes back.
        """
        self._service.counters.refused += 1
        self._log_once(error)
        answer = answer_for(error)
        if pending is None:
            return
        if self._is_v5:
            sentence = self._owner.sentence(sentence_of(error))
            frame = encode.puback(pending.packet_id, answer.publish, sentence)
            self.acks.decide(pending, frame)
        elif answer.lasting:
            self.acks.decide(pending, encode.puback(pending.packet_id))
        else:
            self._owner.fail(error)

    def _log_once(self, error: LyreError) -> None:
        """One line per connection and kind of refusal: a client may repeat it for ever."""
        kind = type(error)
        if self._logged is None or kind not in self._logged:
            self._logged = {kind, *(self._logged or ())}
            logger.info(
                "mqtt session %d: message refused: %s: %s",
                self._context.session,
                kind.__name__,
                error,
            )
