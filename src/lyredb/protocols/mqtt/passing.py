"""Property blocks of v5 messages that pass from client to client unchanged.

A device sends the same properties with every message, or the same names with other values.
So blocks that were found good are kept, by their bytes; a block of user properties alone,
which tracing fills anew for each message, is walked over in a third of the time that
decoding takes. Whatever is to be refused, changed or looked at is left to the decoder.
"""

from __future__ import annotations

from typing import Final

import msgspec

from lyredb.formats import format_for_content_type
from lyredb.plugins.delivery import Format
from lyredb.protocols.mqtt.decode import check_message
from lyredb.protocols.mqtt.properties import MAX_USER_PROPERTIES, Property, decode_properties
from lyredb.protocols.mqtt.reasons import Violation
from lyredb.protocols.mqtt.wire import Reader, varint

MAX_KEPT: Final = 4_096
"""Blocks that are kept; beyond it all are forgotten."""
MAX_KEPT_BYTES: Final = 256
"""Of one of them: 1 MB together."""

_NOT_PASSING: Final = (
    Property.MESSAGE_EXPIRY,
    Property.TOPIC_ALIAS,
    Property.SUBSCRIPTION_IDENTIFIER,
    Property.PAYLOAD_FORMAT,
)
"""Recomputed, between this client and us, refused, a promise about each payload."""


_USER_PROPERTY: Final = 0x26
"""`Property.USER_PROPERTY`; comparing with a member of an enumeration takes 0.1 us."""


class Block(msgspec.Struct, frozen=True, gc=False):
    """A block that may pass.

    Attributes:
        encoded: The properties, without their length.
        content_type: That it says, ``""`` for none.
    """

    encoded: bytes
    content_type: str = ""


EMPTY: Final = Block(b"")


class PassingBlocks:
    """The blocks that pass among clients of one format.

    Attributes:
        known: By their bytes, without their length; for looking up.

    Args:
        format: Of the clients: a payload that says another one has to be converted.
    """

    __slots__ = ("_format", "known")

    def __init__(self, format: Format) -> None:
        self._format = format
        self.known: dict[bytes, Block] = {}

    def learn(self, encoded: bytes) -> Block | None:
        """Return a block that is not known yet, ``None`` when it may not pass unseen."""
        block = Block(encoded) if is_user_properties(encoded) else self._decode(encoded)
        if block is not None and len(encoded) <= MAX_KEPT_BYTES:
            if len(self.known) >= MAX_KEPT:
                self.known.clear()
            self.known[encoded] = block
        return block

    def _decode(self, encoded: bytes) -> Block | None:
        try:
            properties = decode_properties(Reader(varint(len(encoded)) + encoded), "PUBLISH")
            check_message(properties, b"")
        except Violation:
            return None  # for the decoder to say, with its reason
        if any(properties.has(which) for which in _NOT_PASSING):
            return None
        content_type = properties.text(Property.CONTENT_TYPE)
        if format_for_content_type(content_type) not in (None, self._format):
            return None
        return Block(encoded, content_type)


class Passing:
    """The blocks of a worker, by the format of those who send them."""

    def __init__(self) -> None:
        self._by_format: dict[str, PassingBlocks] = {}

    def of(self, format: Format) -> PassingBlocks:
        """Return the blocks of one format, the same object each time."""
        blocks = self._by_format.get(format.name)
        if blocks is None:
            blocks = self._by_format[format.name] = PassingBlocks(format)
        return blocks


def is_user_properties(encoded: bytes) -> bool:
    """Tell whether a block has valid user properties and nothing else; errs towards no."""
    # ASCII without NUL is a UTF-8 string as it has to be [MQTT-1.5.4-1] [MQTT-1.5.4-2]; in a
    # block of ASCII each length has as many NULs as `zeros` counts, and the texts have none.
    if not encoded.isascii():
        return False
    at, size, zeros, count = 0, len(encoded), 0, 0
    try:
        while at < size:
            if encoded[at] != _USER_PROPERTY:
                return False
            high, low = encoded[at + 1], encoded[at + 2]
            zeros += (not high) + (not low)
            at += 3 + (high << 8 | low)
            high, low = encoded[at], encoded[at + 1]
            zeros += (not high) + (not low)
            at += 2 + (high << 8 | low)
            count += 1
    except IndexError:
        return False
    return at == size and encoded.count(0) == zeros and count <= MAX_USER_PROPERTIES
