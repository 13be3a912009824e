"""Topic aliases towards one client: what it gets by a number after the first time.

Frames are made once for all readers of a kind, and an alias belongs to one connection, so
the frames of such a connection are rewritten on their way to the transport. No frame is
rewritten before it leaves: a client never gets a number whose topic it has not got.
"""

from __future__ import annotations

from lyredb.protocols.mqtt.outbox import Wire
from lyredb.protocols.mqtt.properties import Property, encode_property
from lyredb.protocols.mqtt.waiting import frame_ends
from lyredb.protocols.mqtt.wire import varint


class AliasingWire:
    """A transport of which a client gets topics by number (MQTT 5 §3.3.2.3.4).

    The first topics get the numbers, and keep them: a client with more topics than numbers
    would get each number anew with each message otherwise.

    Args:
        wire: The transport.
        most: The client's Topic Alias Maximum, or less.
        largest: Largest packet that the client takes, 0 for any.
    """

    __slots__ = ("_aliases", "_largest", "_most", "_wire")

    def __init__(self, wire: Wire, most: int, largest: int) -> None:
        self._wire = wire
        self._most = most
        self._largest = largest
        self._aliases: dict[bytes, int] = {}

    def get_write_buffer_size(self) -> int:
        """Bytes that wait in the transport."""
        return self._wire.get_write_buffer_size()

    def write_to(self, wire: Wire) -> None:
        """Write there from now on; the client keeps its numbers."""
        self._wire = wire

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Rewrite the PUBLISH packets of whole packets, and send them."""
        packets = bytes(data)
        out = bytearray()
        start = 0
        for end in frame_ends(packets):
            frame = packets[start:end]
            out += self._rewritten(frame) if frame[0] >> 4 == 3 else frame
            start = end
        self._wire.write(out)

    def _rewritten(self, frame: bytes) -> bytes:
        _, body = _varint_at(frame, 1)
        after = body + 2 + int.from_bytes(frame[body : body + 2], "big")
        topic = frame[body + 2 : after]
        alias = self._aliases.get(topic)
        is_known = alias is not None
        if alias is None:
            if len(self._aliases) >= self._most:
                return frame
            alias = len(self._aliases) + 1
        at = after + 2 if frame[0] & 6 else after
        size, properties = _varint_at(frame, at)
        encoded = encode_property(Property.TOPIC_ALIAS, alias)
        told = b"\0\0" if is_known else frame[body:after]
        rest = told + frame[after:at] + varint(size + len(encoded)) + encoded + frame[properties:]
        rewritten = frame[:1] + varint(len(rest)) + rest
        if len(rewritten) > self._largest > 0:
            return frame  # the number would make it too large
        self._aliases[topic] = alias
        return rewritten


def _varint_at(data: bytes, position: int) -> tuple[int, int]:
    """The number at a place of a frame of our own, and where it ends."""
    number = shift = 0
    while True:
        digit = data[position]
        position += 1
        number |= (digit & 127) << shift
        if digit < 128:
            return number, position
        shift += 7
