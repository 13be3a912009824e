"""What a client publishes: the hot loop over frames that need no decoding.

A frame (no RETAIN, no DUP, properties that pass unchanged or none) whose topic has been seen
is not decoded: runs of such frames go to delivery as slices of what was read, one call per
run. Frames that go on like the one before are not even looked at one by one
(`lyredb.protocols.mqtt.stretches`). What goes through the log is collected on the way and
handed over at once. Every other PUBLISH is decoded and validated in full
(`lyredb.protocols.mqtt.one_by_one`).
"""

from __future__ import annotations

from typing import Final

from lyredb.delivery.group import Group
from lyredb.delivery.message import Message
from lyredb.delivery.routes import Path
from lyredb.formats import JSON, format_for_content_type
from lyredb.plugins.context import Context
from lyredb.plugins.delivery import Format
from lyredb.protocols.mqtt.acks import AckQueue
from lyredb.protocols.mqtt.encoding import raw_kind
from lyredb.protocols.mqtt.one_by_one import OneByOne, Owner
from lyredb.protocols.mqtt.packets import V5, V311, Release
from lyredb.protocols.mqtt.passing import EMPTY, Block
from lyredb.protocols.mqtt.service import Service
from lyredb.protocols.mqtt.stretches import ENOUGH, SPAN, qos1_form
from lyredb.resources.logged import LoggedMessage
from lyredb.sessions.inbound import Inbound

__all__ = ["Owner", "Publishing"]

_PUBACK = b"\x40\x02"
_PUBREC = b"\x50\x02"
_SLICE_BYTES = 65_536
"""What `Publishing.take` loops over before the connection looks at the clock again."""
SMALL_BYTES: Final = 129
"""The largest frame whose length is one byte."""
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


class Publishing:
    """The publishing side of one connection.

    Attributes:
        acks: Acknowledgements in the order of arrival.

    Args:
        owner: The connection.
        service: What all connections share.
        context: Whose rights decide.
        version: 3, 4 or 5.
        content_type: Of payloads that say none themselves, ``""`` for nothing known.
        inbound: What a session that outlives its connection remembers of QoS 2.
    """

    __slots__ = (
        "_blocks",
        "_content_type",
        "_context",
        "_format",
        "_inbound",
        "_ingress",
        "_is_v5",
        "_look_in",
        "_others",
        "_owner",
        "_paths",
        "_service",
        "_version",
        "_wait",
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
        inbound: Inbound | None = None,
    ) -> None:
        self.acks = AckQueue()
        self._owner = owner
        self._service = service
        self._context = context
        self._version = version
        self._is_v5 = version == V5
        self._format: Format = format_for_content_type(content_type) or JSON
        self._content_type = content_type
        self._inbound = inbound
        self._blocks = service.passing.of(self._format)
        # Frames of 3.1 are those of 3.1.1.
        kind = raw_kind(max(version, V311), self._format)
        self._ingress = service.database.ingress(context, kind, content_type)
        self._paths = self._ingress.paths
        self._look_in = 0
        self._wait = _LEAST_WAIT
        self._others: OneByOne | None = None

    def take(self, data: bytes, position: int) -> int:
        """Take plain frames of known topics from ``position`` on.

        Stops at the first frame that is something else, incomplete or malformed, or at
        the first after so many bytes, and returns where it starts; `handle_publish` or
        the connection decides about it.
        """
        # One function with locals only: this loop is the broker. A call per frame
        # costs as much as all that it does (0.3 us a frame in CPython 3.11).
        size = len(data)
        if size - position <= SMALL_BYTES and self.take_one(data, position, size, False):
            return size
        last = min(size - 4, position + _SLICE_BYTES)
        is_v5 = self._is_v5
        paths = self._paths
        push_run, owner = self._ingress.push_run, self._owner
        largest = self._service.limits.max_packet_bytes
        # Acknowledgements that wait for a commit count against the Receive Maximum;
        # while none waits each QoS 1 frame here is acknowledged at once.
        waiting = self.acks.outstanding
        limit = self._service.limits.receive_maximum
        known = self._blocks.known
        is_durable = self._inbound is not None and self._inbound.is_durable
        budget = limit - waiting if waiting else size
        group: Group | None = None
        kind = start = count = received = held = 0
        before: Path | None = None
        block = EMPTY
        look_at = position + self._look_in
        ends: list[int] = []
        ids: list[int] = []
        acks = bytearray()
        logged: list[LoggedMessage] = []
        logged_ids: list[bytes] = []
        while position <= last:
            first = data[position]
            if first != 0x30 and first != 0x32 and first != 0x34:
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
            tail = after if first == 0x30 else after + 2
            if is_v5:
                if tail >= end:
                    break
                length = data[tail]
                tail += 1
                if length:
                    if length > 127:
                        digit = data[tail]
                        if digit == 0 or digit > 127:
                            break
                        length = (length & 127) | digit << 7
                        tail += 1
                    tail += length
                    if tail > end:
                        break
                    encoded = data[tail - length : tail]
                    found_block = known.get(encoded) or self._blocks.learn(encoded)
                    if found_block is None:
                        break
                    block = found_block
                else:
                    block = EMPTY
            elif tail > end:
                break
            path = paths.get(data[name:after])
            if path is None:
                break
            if first == 0x30:
                solo = path.solo0
            else:
                number = data[after : after + 2]
                if number == b"\x00\x00" or budget <= 0:
                    break
                if first == 0x32:
                    solo = path.solo1
                    acks += _PUBACK
                else:
                    must_log = is_durable or path.is_logged
                    if not self._remember(number, will_log=must_log):
                        break
                    held += not must_log
                    solo = path.solo2
                    acks += _PUBREC
                acks += number
                budget -= 1
            received += 1
            if solo is None or solo is not group or first != kind:
                if group is not None:
                    push_run(group, data, start, position, count, owner, ends, ids)
                group = None
                if ends:
                    ends = []
                    ids = []
                if first != 0x30 and (path.is_logged or (is_durable and first == 0x34)):
                    logged.append(
                        LoggedMessage(
                            path.destination,
                            data[tail:end],
                            first >> 1 & 3,
                            block.content_type or self._content_type,
                            block.encoded,
                        )
                    )
                    logged_ids.append(number)
                    budget = min(budget, limit - waiting - len(logged))
                    position = end
                    continue
                if logged and (first == 0x30 or is_durable):
                    # It may not overtake those of its topic: from now on it is held.
                    self._log(logged, logged_ids, acks, held)
                    logged, logged_ids, acks, held = [], [], bytearray(), 0
                    waiting = self.acks.outstanding
                    budget = limit - waiting
                    solo = path.solo0 if first == 0x30 else path.solo1 if first == 0x32 else None
                group = solo
                kind = first
                start = position
                count = 0
                if solo is None:
                    if not path.idle:
                        self._push_frame(path, data, position, after, tail, end, block)
                    position = end
                    continue
            count += 1
            begin = position
            position = end
            if first != 0x30:
                ends.append(end)
                ids.append(after)
            if path is not before:
                before = path
            elif end >= look_at and end < size and first != 0x34:
                found, position = self._follow(data, begin, body, after, tail, end, budget)
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
            push_run(group, data, start, position, count, owner, ends, ids)
        if logged:
            self._log(logged, logged_ids, acks, held)
        elif acks:
            self.acks.add(acks, len(acks) // 4 - held)
        self._service.counters.received += received
        self._look_in = max(0, look_at - position)
        return position

    def take_one(self, data: bytes, position: int, size: int, is_lone: bool) -> bool:
        """Take a small plain frame of QoS 0 that is all there is left, as clients mostly send.

        What the loop prepares for many costs as much as one message.

        Args:
            data: As received, with at most `SMALL_BYTES` from ``position`` on.
            position: Where the frame begins.
            size: Of ``data``.
            is_lone: The frame is all that was read.

        Returns:
            False when it is anything else; nothing was done then.
        """
        rest = size - position
        if rest < 5 or data[position] != 0x30 or data[position + 1] != rest - 2:
            return False
        name = position + 4
        after = name + (data[position + 2] << 8 | data[position + 3])
        if after > size or rest > self._service.limits.max_packet_bytes:
            return False
        if self._is_v5 and (after == size or data[after]):
            return False  # it has properties, or is malformed
        path = self._paths.get(data[name:after])
        if path is None:
            return False
        group = path.solo0
        if group is not None:
            if is_lone:
                self._ingress.push_lone(group, data, self._owner)
            else:
                self._ingress.push_run(group, data, position, size, 1, self._owner)
        elif not path.idle:
            return False
        self._service.counters.received += 1
        return True

    def _remember(self, number: bytes, *, will_log: bool) -> bool:
        """Remember a message of QoS 2, as received or as on its way to the disk.

        Returns:
            False when it is known already, or is one too many: that is for `OneByOne`.
        """
        exactly = self._one_by_one().exactly
        packet_id = number[0] << 8 | number[1]
        if exactly.is_known(packet_id):
            return False
        outstanding = len(exactly.ids) + len(exactly.receiving)
        if self._is_v5 and outstanding >= self._service.limits.receive_maximum:
            return False
        if will_log:
            exactly.receiving[packet_id] = []
        else:
            exactly.ids.add(packet_id)
        return True

    def _log(
        self, messages: list[LoggedMessage], ids: list[bytes], acks: bytearray, held: int
    ) -> None:
        self._one_by_one().log(messages, ids, acks, held)

    def _follow(
        self, data: bytes, begin: int, body: int, after: int, tail: int, end: int, budget: int
    ) -> tuple[int, int]:
        """Find how many frames go on like the one at ``data[begin:end]``.

        Args:
            data: As received.
            begin: Where the frame begins.
            body: Where what follows its length begins.
            after: Where its topic ends.
            tail: Where its payload begins.
            end: Where it ends.
            budget: How many there may be of QoS 1.

        Returns:
            How many there are, and where the last one ends. Those of QoS 1 have one size.
        """
        stretches = self._service.stretches
        is_qos0 = data[begin] == 0x30
        head = tail if is_qos0 else after
        size = end - begin
        found, position = 0, end
        if data.startswith(data[begin:head], end):
            limit = len(data) if is_qos0 else min(len(data), end + budget * size)
            form = 0 if is_qos0 else qos1_form(tail - after - 2)
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

    def _push_frame(
        self, path: Path, data: bytes, position: int, after: int, tail: int, end: int, block: Block
    ) -> None:
        """Push one frame to several groups, or to readers of another kind.

        Args:
            path: Of its topic.
            data: As received.
            position: Where it begins.
            after: Where its topic ends.
            tail: Where its payload begins.
            end: Where it ends.
            block: Its properties.
        """
        qos = data[position] >> 1 & 3
        message = Message.direct(
            path.topic,
            data[tail:end],
            path.destination,
            qos=qos,
            content_type=block.content_type or self._content_type,
            properties=block.encoded,
            session=self._context.session,
        )
        self._ingress.push(
            path, message, self._owner, data[position:end], after - position if qos else 0
        )

    def handle_publish(self, data: bytes, position: int, body: int, end: int) -> None:
        """Decode and act on one PUBLISH of any form; see `OneByOne.handle_publish`."""
        self._one_by_one().handle_publish(data, position, body, end)

    def take_releases(self, data: bytes, position: int) -> int:
        """Take the plain PUBRELs that begin at ``position``; see `ExactlyOnce.take_releases`."""
        return self._one_by_one().exactly.take_releases(data, position)

    def handle_pubrel(self, packet: Release) -> None:
        """Act on one PUBREL of any form; see `ExactlyOnce.handle_pubrel`."""
        self._one_by_one().exactly.handle_pubrel(packet)

    def _one_by_one(self) -> OneByOne:
        if self._others is None:
            self._others = OneByOne(
                self._owner,
                self._service,
                self._context,
                self._version,
                self.acks,
                self._ingress,
                self._inbound,
                format=self._format,
                content_type=self._content_type,
            )
        return self._others
