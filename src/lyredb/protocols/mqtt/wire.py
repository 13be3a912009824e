"""The data types of MQTT (MQTT 5 §1.5): integers, strings, binary data, fixed headers.

Reading checks bounds and encodings and raises `Violation`; nothing here does I/O.
"""

from __future__ import annotations

from lyredb.protocols.mqtt.reasons import Reason, Violation, malformed

MAX_VARINT = 268_435_455
"""The largest variable byte integer: four bytes of seven bits (MQTT 5 §1.5.5)."""


_ONE_BYTE = tuple(bytes((number,)) for number in range(128))


def varint(number: int) -> bytes:
    """Encode a variable byte integer with as few bytes as possible [MQTT-1.5.5-1]."""
    if number < 128:
        return _ONE_BYTE[number]
    assert number <= MAX_VARINT, number
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        if not number:
            out.append(digit)
            return bytes(out)
        out.append(digit | 128)


def text(value: str) -> bytes:
    """Encode a UTF-8 string with its two-byte length, at most 65,535 bytes."""
    return binary(value.encode())


def binary(value: bytes) -> bytes:
    """Encode binary data with its two-byte length, at most 65,535 bytes."""
    return len(value).to_bytes(2, "big") + value


def read_header(data: bytes, position: int, largest: int) -> tuple[int, int] | None:
    """Find the body of the packet that starts at ``position``.

    The size is checked as soon as the header is there, before any of the body.

    Args:
        data: What was read from the peer.
        position: Where the packet starts; must be inside of ``data``.
        largest: The largest packet that is taken, in bytes, header included.

    Returns:
        Start and end of the body in ``data``; the end may lie beyond what has been
        read. None when the header itself is not complete.

    Raises:
        Violation: 0x81 for a length of more than four bytes or with superfluous
            ones, 0x95 for a packet that is too large.
    """
    length = shift = 0
    body = position + 1
    size = len(data)
    while body < size:
        digit = data[body]
        body += 1
        length |= (digit & 127) << shift
        if digit < 128:
            if digit == 0 and shift:
                raise malformed("The Remaining Length uses more bytes than it needs")
            if body - position + length > largest:
                raise Violation(
                    Reason.PACKET_TOO_LARGE,
                    f"A packet may have {largest} bytes, got {body - position + length}",
                )
            return body, body + length
        shift += 7
        if shift > 21:
            raise malformed("The Remaining Length has more than four bytes")
    return None


def decode_text(value: bytes, what: str) -> str:
    """Decode a UTF-8 string; no surrogates and no NUL [MQTT-1.5.4-1] [MQTT-1.5.4-2]."""
    try:
        decoded = value.decode()
    except UnicodeDecodeError:
        raise malformed(f"{what} is not UTF-8") from None
    if "\0" in decoded:
        raise malformed(f"{what} has a NUL character")
    return decoded


class Reader:
    """Reads the fields of one packet's body in order.

    Attributes:
        data: The bytes.
        position: The next one to read.
        end: Where this reader stops.
    """

    __slots__ = ("data", "end", "position")

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end

    @property
    def is_done(self) -> bool:
        """True when everything has been read."""
        return self.position >= self.end

    def take(self, count: int, what: str) -> bytes:
        """The next ``count`` bytes."""
        start = self.position
        if start + count > self.end:
            raise malformed(f"The packet ends inside of {what}")
        self.position = start + count
        return self.data[start : start + count]

    def byte(self, what: str) -> int:
        """A byte."""
        return self.take(1, what)[0]

    def two_bytes(self, what: str) -> int:
        """A two byte integer (§1.5.2)."""
        return int.from_bytes(self.take(2, what), "big")

    def four_bytes(self, what: str) -> int:
        """A four byte integer (§1.5.3)."""
        return int.from_bytes(self.take(4, what), "big")

    def varint(self, what: str) -> int:
        """A variable byte integer in its shortest form (§1.5.5)."""
        number = 0
        for shift in (0, 7, 14, 21):
            digit = self.byte(what)
            number |= (digit & 127) << shift
            if digit < 128:
                if digit == 0 and shift:
                    raise malformed(f"{what} uses more bytes than it needs")
                return number
        raise malformed(f"{what} has more than four bytes")

    def text(self, what: str) -> str:
        """A UTF-8 string (§1.5.4)."""
        return decode_text(self.binary(what), what)

    def binary(self, what: str) -> bytes:
        """Binary data (§1.5.6)."""
        return self.take(self.two_bytes(what), what)

    def packet_id(self) -> int:
        """A packet identifier, which is never zero [MQTT-2.2.1-3]."""
        number = self.two_bytes("the Packet Identifier")
        if not number:
            raise Violation(Reason.PROTOCOL_ERROR, "A Packet Identifier may not be 0")
        return number

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.take(self.end - self.position, "the payload")

    def finish(self, packet: str) -> None:
        """Demand that everything has been read."""
        if self.position != self.end:
            raise malformed(f"{packet} has {self.end - self.position} bytes too many")
