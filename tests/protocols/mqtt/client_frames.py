"""The other side of the codec: what a client sends, and what it reads, written anew.

Deliberately not made of the product's encoders, so that a mistake there is not
repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass

PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"


def remaining_length(number: int) -> bytes:
    out = b""
    while True:
        digit = number % 128
        number //= 128
        out += bytes([digit | (128 if number else 0)])
        if not number:
            return out


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return len(data).to_bytes(2, "big") + data


def packet(first: int, body: bytes) -> bytes:
    return bytes([first]) + remaining_length(len(body)) + body


def properties(encoded: bytes | None, version: int) -> bytes:
    if version != 5:
        return b""
    encoded = encoded or b""
    return remaining_length(len(encoded)) + encoded


def connect(
    version: int = 4,
    client_id: str = "c",
    *,
    clean: bool = True,
    keep_alive: int = 0,
    will: tuple[str, bytes] | None = None,
    will_qos: int = 0,
    will_retain: bool = False,
    will_properties: bytes = b"",
    username: str | None = None,
    password: bytes | None = None,
    props: bytes = b"",
    name: bytes = b"MQTT",
    level: int | None = None,
    flags: int | None = None,
) -> bytes:
    if flags is None:
        flags = (
            (0x02 if clean else 0)
            | (0x04 if will is not None else 0)
            | will_qos << 3
            | (0x20 if will_retain else 0)
            | (0x40 if password is not None else 0)
            | (0x80 if username is not None else 0)
        )
    body = text(name) + bytes([version if level is None else level, flags])
    body += keep_alive.to_bytes(2, "big") + properties(props, version) + text(client_id)
    if will is not None:
        body += properties(will_properties, version) + text(will[0]) + text(will[1])
    if username is not None:
        body += text(username)
    if password is not None:
        body += text(password)
    return packet(0x10, body)


def publish(
    topic: str | bytes,
    payload: bytes = b"",
    *,
    version: int = 4,
    qos: int = 0,
    packet_id: int = 1,
    retain: bool = False,
    dup: bool = False,
    props: bytes | None = None,
) -> bytes:
    first = 0x30 | (8 if dup else 0) | qos << 1 | int(retain)
    body = text(topic)
    if qos:
        body += packet_id.to_bytes(2, "big")
    return packet(first, body + properties(props, version) + payload)


def subscribe(
    *filters: str | tuple[str, int], version: int = 4, packet_id: int = 1, props: bytes = b""
) -> bytes:
    body = packet_id.to_bytes(2, "big") + properties(props, version)
    for item in filters:
        name, options = (item, 0) if isinstance(item, str) else item
        body += text(name) + bytes([options])
    return packet(0x82, body)


def unsubscribe(*filters: str, version: int = 4, packet_id: int = 1) -> bytes:
    body = packet_id.to_bytes(2, "big") + properties(b"", version)
    return packet(0xA2, body + b"".join(text(name) for name in filters))


def puback(packet_id: int) -> bytes:
    return packet(0x40, packet_id.to_bytes(2, "big"))


def pubrec(packet_id: int, reason: int = 0) -> bytes:
    return packet(0x50, packet_id.to_bytes(2, "big") + (bytes([reason]) if reason else b""))


def pubrel(packet_id: int, reason: int = 0) -> bytes:
    return packet(0x62, packet_id.to_bytes(2, "big") + (bytes([reason]) if reason else b""))


def pubcomp(packet_id: int, reason: int = 0) -> bytes:
    return packet(0x70, packet_id.to_bytes(2, "big") + (bytes([reason]) if reason else b""))


def disconnect(reason: int, props: bytes | None = None) -> bytes:
    tail = b"" if props is None else remaining_length(len(props)) + props
    return packet(0xE0, bytes([reason]) + tail)


@dataclass(frozen=True)
class Received:
    """One packet of the server, taken apart."""

    kind: int
    flags: int
    body: bytes
    version: int

    @property
    def topic(self) -> str:
        size = int.from_bytes(self.body[:2], "big")
        return self.body[2 : 2 + size].decode()

    @property
    def qos(self) -> int:
        return self.flags >> 1 & 3

    @property
    def retain(self) -> bool:
        return bool(self.flags & 1)

    @property
    def _after_topic(self) -> int:
        return 2 + len(self.topic.encode())

    @property
    def packet_id(self) -> int:
        start = self._after_topic if self.kind == 3 else 0
        return int.from_bytes(self.body[start : start + 2], "big")

    @property
    def properties(self) -> bytes:
        """Encoded properties, without their length."""
        start = {
            2: 2,
            3: self._after_topic + (2 if self.qos else 0) if self.kind == 3 else 0,
            4: 3,
            9: 2,
            11: 2,
            14: 1,
        }[self.kind]
        rest = self.body[start:]
        length = shift = used = 0
        for digit in rest:
            used += 1
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                break
        return rest[used : used + length]

    @property
    def payload(self) -> bytes:
        start = self._after_topic + (2 if self.qos else 0)
        if self.version == 5:
            size = len(self.properties)
            start += size + len(remaining_length(size))
        return self.body[start:]

    @property
    def codes(self) -> list[int]:
        """SUBACK and UNSUBACK."""
        start = 2
        if self.version == 5:
            size = len(self.properties)
            start += size + len(remaining_length(size))
        return list(self.body[start:])

    @property
    def reason(self) -> int:
        """CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT."""
        at = {2: 1, 4: 2, 5: 2, 6: 2, 7: 2, 14: 0}[self.kind]
        return self.body[at] if len(self.body) > at else 0


def split(data: bytes, version: int = 4) -> list[Received]:
    """Take a stream of whole packets apart; fails on a rest."""
    found, rest = split_whole(data, version)
    assert not rest, "an incomplete packet at the end"
    return found


def split_whole(data: bytes, version: int = 4) -> tuple[list[Received], bytes]:
    """Take the whole packets off a stream; returns them and what is left."""
    found: list[Received] = []
    position = 0
    while True:
        start = position
        length = shift = 0
        position += 1
        while position < len(data):
            digit = data[position]
            position += 1
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                break
        else:
            return found, data[start:]
        end = position + length
        if end > len(data):
            return found, data[start:]
        first = data[start]
        found.append(Received(first >> 4, first & 15, data[position:end], version))
        position = end
