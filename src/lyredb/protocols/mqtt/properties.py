"""The properties of MQTT 5 (§2.2.2): one table of types and places, a reader, a writer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Literal

from lyredb.protocols.mqtt.reasons import Reason, Violation, malformed, protocol_error, too_many
from lyredb.protocols.mqtt.wire import Reader, binary, text, varint

Place = Literal[
    "CONNECT",
    "WILL",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "DISCONNECT",
    "AUTH",
]
"""Where a client may send properties to us."""

MAX_USER_PROPERTIES: Final = 1_000
"""A packet of allowed size has room for 240,000, which take 0.3 s to read."""

Kind = Literal["byte", "flag", "two", "four", "varint", "text", "binary", "pair"]

Value = int | str | bytes


class Property(IntEnum):
    """Property identifiers (MQTT 5 §2.2.2.2)."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_IDENTIFIER = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER_PROPERTY = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_AVAILABLE = 0x28
    SUBSCRIPTION_IDENTIFIERS_AVAILABLE = 0x29
    SHARED_AVAILABLE = 0x2A


@dataclass(frozen=True, slots=True)
class Form:
    """How a property looks and which packets of a client may have it."""

    kind: Kind
    places: frozenset[Place] = frozenset()
    least: int = 0


def _form(kind: Kind, *places: Place, least: int = 0) -> Form:
    return Form(kind, frozenset(places), least)


_REPLIES: Final[tuple[Place, ...]] = ("PUBACK", "PUBREC", "PUBREL", "PUBCOMP")

FORMS: Mapping[int, Form] = MappingProxyType(
    {
        Property.PAYLOAD_FORMAT: _form("flag", "PUBLISH", "WILL"),
        Property.MESSAGE_EXPIRY: _form("four", "PUBLISH", "WILL"),
        Property.CONTENT_TYPE: _form("text", "PUBLISH", "WILL"),
        Property.RESPONSE_TOPIC: _form("text", "PUBLISH", "WILL"),
        Property.CORRELATION_DATA: _form("binary", "PUBLISH", "WILL"),
        Property.SUBSCRIPTION_IDENTIFIER: _form("varint", "PUBLISH", "SUBSCRIBE", least=1),
        Property.SESSION_EXPIRY: _form("four", "CONNECT", "DISCONNECT"),
        Property.ASSIGNED_CLIENT_IDENTIFIER: _form("text"),
        Property.SERVER_KEEP_ALIVE: _form("two"),
        Property.AUTHENTICATION_METHOD: _form("text", "CONNECT", "AUTH"),
        Property.AUTHENTICATION_DATA: _form("binary", "CONNECT", "AUTH"),
        Property.REQUEST_PROBLEM_INFORMATION: _form("flag", "CONNECT"),
        Property.WILL_DELAY: _form("four", "WILL"),
        Property.REQUEST_RESPONSE_INFORMATION: _form("flag", "CONNECT"),
        Property.RESPONSE_INFORMATION: _form("text"),
        Property.SERVER_REFERENCE: _form("text"),
        Property.REASON_STRING: _form("text", *_REPLIES, "DISCONNECT", "AUTH"),
        Property.RECEIVE_MAXIMUM: _form("two", "CONNECT", least=1),
        Property.TOPIC_ALIAS_MAXIMUM: _form("two", "CONNECT"),
        Property.TOPIC_ALIAS: _form("two", "PUBLISH"),
        Property.MAXIMUM_QOS: _form("flag"),
        Property.RETAIN_AVAILABLE: _form("flag"),
        Property.USER_PROPERTY: _form(
            "pair",
            *("CONNECT", "WILL", "PUBLISH", *_REPLIES),
            *("SUBSCRIBE", "UNSUBSCRIBE", "DISCONNECT", "AUTH"),
        ),
        Property.MAXIMUM_PACKET_SIZE: _form("four", "CONNECT", least=1),
        Property.WILDCARD_AVAILABLE: _form("flag"),
        Property.SUBSCRIPTION_IDENTIFIERS_AVAILABLE: _form("flag"),
        Property.SHARED_AVAILABLE: _form("flag"),
    }
)
"""Every property of the standard (§2.2.2.2, table 2-4). Without places: servers send it."""

_NOT_FORWARDED = frozenset(
    (
        Property.MESSAGE_EXPIRY,
        Property.TOPIC_ALIAS,
        Property.SUBSCRIPTION_IDENTIFIER,
        Property.WILL_DELAY,
    )
)


@dataclass(frozen=True, slots=True)
class Properties:
    """The decoded properties of one packet.

    Attributes:
        values: Those that may stand once, by identifier.
        user: User properties in their order [MQTT-3.3.2-18].
        forward: As encoded, what goes on to subscribers with a message: all but
            expiry (recomputed), topic alias, subscription identifiers, will delay.
    """

    values: Mapping[int, Value] = field(default_factory=dict)
    user: tuple[tuple[str, str], ...] = ()
    forward: bytes = b""

    def number(self, which: Property, default: int = 0) -> int:
        """A numeric property."""
        value = self.values.get(which, default)
        assert isinstance(value, int)
        return value

    def text(self, which: Property) -> str:
        """A text property, ``""`` when absent."""
        value = self.values.get(which, "")
        assert isinstance(value, str)
        return value

    def has(self, which: Property) -> bool:
        """True when the packet has it."""
        return which in self.values


NONE = Properties()


def decode_properties(reader: Reader, place: Place) -> Properties:
    """Read a property length and the properties.

    Raises:
        Violation: 0x81 for an unknown or misplaced identifier and for values that
            are not of their type (§2.2.2.2), 0x82 for one that stands twice or has
            a value that is not allowed.
    """
    length = reader.varint("the Property Length")
    if not length:
        return NONE
    end = reader.position + length
    if end > reader.end:
        raise malformed("The properties are longer than their packet")
    inner = Reader(reader.data, reader.position, end)
    reader.position = end
    values: dict[int, Value] = {}
    user: list[tuple[str, str]] = []
    forward = bytearray()
    while not inner.is_done:
        start = inner.position
        identifier = inner.varint("a property identifier")
        form = FORMS.get(identifier)
        if form is None or place not in form.places:
            raise malformed(f"A {place} packet has no property 0x{identifier:02X}")
        if form.kind == "pair":
            user.append((inner.text("a user property"), inner.text("a user property")))
            if len(user) > MAX_USER_PROPERTIES:
                raise too_many("user properties in a packet", MAX_USER_PROPERTIES)
        elif identifier in values:
            raise protocol_error(f"The property {_name(identifier)} stands twice")
        else:
            values[identifier] = _read_value(inner, identifier, form)
        if identifier not in _NOT_FORWARDED:
            forward += inner.data[start : inner.position]
    return Properties(values, tuple(user), bytes(forward))


def _name(identifier: int) -> str:
    return Property(identifier).name.replace("_", " ").title()


def _read_value(reader: Reader, identifier: int, form: Form) -> Value:
    name = f"the property {_name(identifier)}"
    match form.kind:
        case "text":
            return reader.text(name)
        case "binary":
            return reader.binary(name)
        case "two":
            number = reader.two_bytes(name)
        case "four":
            number = reader.four_bytes(name)
        case "varint":
            number = reader.varint(name)
        case _:
            number = reader.byte(name)
    if form.kind == "flag" and number > 1:
        raise protocol_error(f"{name[0].upper()}{name[1:]} may be 0 or 1, got {number}")
    if number < form.least:
        raise protocol_error(f"{name[0].upper()}{name[1:]} may not be {number}")
    if identifier == Property.TOPIC_ALIAS and not number:
        raise Violation(Reason.TOPIC_ALIAS_INVALID, "A Topic Alias may not be 0")  # [MQTT-3.3.2-8]
    return number


def encode_property(which: Property, value: Value | tuple[str, str]) -> bytes:
    """Encode one property with its identifier."""
    prefix = bytes((which,))
    match FORMS[which].kind, value:
        case "pair", (str(name), str(content)):
            return prefix + text(name) + text(content)
        case "text", str():
            return prefix + text(value)
        case "binary", bytes():
            return prefix + binary(value)
        case "varint", int():
            return prefix + varint(value)
        case "two", int():
            return prefix + value.to_bytes(2, "big")
        case "four", int():
            return prefix + value.to_bytes(4, "big")
        case "byte" | "flag", int():
            return prefix + value.to_bytes(1, "big")
        case kind, _:
            raise TypeError(f"{which.name} is {kind}, got {value!r}")


def with_length(encoded: bytes) -> bytes:
    """Encoded properties with their length before them."""
    return varint(len(encoded)) + encoded


def without(encoded: bytes, unwanted: frozenset[Property]) -> bytes:
    """Leave properties out of encoded ones (without their length) of a PUBLISH."""
    reader = Reader(encoded)
    kept = bytearray()
    while not reader.is_done:
        start = reader.position
        identifier = reader.varint("a property identifier")
        form = FORMS[identifier]
        if form.kind == "pair":
            reader.binary("a name")
            reader.binary("a value")
        else:
            _read_value(reader, identifier, form)
        if identifier not in unwanted:
            kept += encoded[start : reader.position]
    return bytes(kept)
