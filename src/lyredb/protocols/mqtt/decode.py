"""Bytes of a client to packets: one function per packet type, every field validated.

No I/O and no state. Whatever cannot be read, or may not be there, raises `Violation`
with the reason code that a v5 client is told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lyredb.protocols.mqtt.packets import (
    V5,
    V31,
    V311,
    Acknowledgement,
    Auth,
    Completion,
    Connect,
    Disconnect,
    Packet,
    Ping,
    Publish,
    Receipt,
    Release,
    Request,
    Subscribe,
    Unsubscribe,
    Will,
)
from lyredb.protocols.mqtt.properties import (
    NONE,
    Place,
    Properties,
    Property,
    decode_properties,
)
from lyredb.protocols.mqtt.reasons import (
    CLIENT_DISCONNECT_REASONS,
    PUBACK_REASONS,
    PUBREL_REASONS,
    Reason,
    Violation,
    malformed,
    protocol_error,
    too_many,
)
from lyredb.protocols.mqtt.wire import Reader, decode_text

MAX_FILTERS: Final = 1_000
"""One packet is worked on without a pause, and a subscription takes 20 µs and more to make:
with the 290,000 that an allowed packet has room for, a worker would be silent for so long that
it is taken for dead."""


def decode(first: int, body: bytes, version: int) -> Packet:
    """Decode one packet.

    Args:
        first: The first byte of the fixed header: type and flags.
        body: Everything after the Remaining Length.
        version: 3, 4 or 5; a CONNECT says its own.

    Raises:
        Violation: The packet is malformed, or of a type that no client sends.
    """
    kind = first >> 4
    if kind == 3:
        return decode_publish(first, body, version)
    flags_and_decoder = _DECODERS.get(kind)
    if flags_and_decoder is None or (kind == 15 and version != V5):
        if kind == 0 or kind == 15:
            raise malformed(f"There is no packet of type {kind}")
        raise protocol_error(f"A client does not send a packet of type {kind}")
    flags, decoder = flags_and_decoder
    # 3.1 calls the flags unused where it gives them no meaning, and has DUP in some that
    # 3.1.1 reserves: its clients set it when they ask again (3.1 §2.1).
    if first & 15 != flags and version != V31:
        raise malformed(f"The flags of a packet of type {kind} are {flags}, got {first & 15}")
    return decoder(body, version)


def decode_connect(body: bytes, version: int = 0) -> Connect:
    """CONNECT (§3.1). ``version`` is ignored: the packet says it.

    Raises:
        Violation: With ``version`` set once the protocol level is known, and ``largest``
            once the properties are, so that the client can read the refusal.
    """
    reader = Reader(body)
    version = _decode_level(reader)
    try:
        return _decode_connect(reader, version)
    except Violation as violation:
        violation.version = version
        raise


def _decode_level(reader: Reader) -> int:
    name = reader.binary("the Protocol Name")
    if name not in (b"MQTT", b"MQIsdp"):
        # No version is known here: the server closes without a CONNACK [MQTT-3.1.2-1].
        raise Violation(Reason.UNSUPPORTED_PROTOCOL_VERSION, "The Protocol Name is not MQTT")
    level = reader.byte("the Protocol Level")
    if level not in ((V311, V5) if name == b"MQTT" else (V31,)):
        raise Violation(
            Reason.UNSUPPORTED_PROTOCOL_VERSION,
            f"Protocol level {level} is not spoken here; 3 (3.1), 4 (3.1.1) and 5 are",
            version=V5 if level > V5 and level < 0x80 else V311,
        )
    return level


def _decode_connect(reader: Reader, version: int) -> Connect:
    flags = reader.byte("the Connect Flags")
    _check_connect_flags(flags, version)
    keep_alive_s = reader.two_bytes("Keep Alive")
    properties = decode_properties(reader, "CONNECT") if version == V5 else NONE
    try:
        return _decode_fields(reader, version, flags, keep_alive_s, properties)
    except Violation as violation:
        violation.largest = properties.number(Property.MAXIMUM_PACKET_SIZE)
        raise


def _decode_fields(
    reader: Reader, version: int, flags: int, keep_alive_s: int, properties: Properties
) -> Connect:
    if properties.has(Property.AUTHENTICATION_DATA) and not properties.has(
        Property.AUTHENTICATION_METHOD
    ):
        raise protocol_error("Authentication Data needs an Authentication Method")
    client_id = reader.text("the Client Identifier")
    will = _decode_will(reader, flags, version) if flags & 0x04 else None
    username = reader.text("the User Name") if flags & 0x80 else None
    password = reader.binary("the Password") if flags & 0x40 else None
    reader.finish("CONNECT")
    return Connect(
        version, client_id, bool(flags & 0x02), keep_alive_s, will, username, password, properties
    )


def _check_connect_flags(flags: int, version: int) -> None:
    if flags & 0x01 and version != V31:
        raise malformed("The reserved Connect Flag must be 0")  # [MQTT-3.1.2-3]
    if flags >> 3 & 3 == 3:
        raise malformed("The Will QoS may be 0, 1 or 2, got 3")  # [MQTT-3.1.2-12]
    if not flags & 0x04 and flags & 0x38:
        raise malformed("Will QoS and Will Retain need the Will Flag")  # [MQTT-3.1.2-11]
    if version != V5 and flags & 0x40 and not flags & 0x80:
        raise malformed("A password needs a user name")  # 3.1.1: [MQTT-3.1.2-22]


def _decode_will(reader: Reader, flags: int, version: int) -> Will:
    properties = decode_properties(reader, "WILL") if version == V5 else NONE
    topic = reader.binary("the Will Topic")
    check_topic_name(topic, "the Will Topic")
    payload = reader.binary("the Will Payload")
    check_message(properties, payload)
    return Will(topic, payload, flags >> 3 & 3, bool(flags & 0x20), properties)


def check_topic_name(topic: bytes, what: str = "the Topic Name") -> None:
    """Demand a topic that a message may be published to (§4.7).

    Raises:
        Violation: 0x81 when it is not UTF-8 or has a NUL, 0x90 when it is empty or
            has a wildcard [MQTT-3.3.2-2].
    """
    decode_text(topic, what)
    if not topic:
        raise Violation(Reason.TOPIC_NAME_INVALID, f"{what} is empty")
    if b"+" in topic or b"#" in topic:
        raise Violation(Reason.TOPIC_NAME_INVALID, f"{what} may not have the wildcards + and #")


def check_message(properties: Properties, payload: bytes) -> None:
    """Check what a message's properties say of it.

    Raises:
        Violation: 0x99 when the payload is declared UTF-8 and is not, 0x82 for a
            Response Topic with wildcards [MQTT-3.3.2-14].
    """
    response_topic = properties.text(Property.RESPONSE_TOPIC)
    if "+" in response_topic or "#" in response_topic:
        raise protocol_error("The Response Topic may not have the wildcards + and #")
    if properties.number(Property.PAYLOAD_FORMAT):
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise Violation(
                Reason.PAYLOAD_FORMAT_INVALID, "The payload is declared UTF-8 and is not"
            ) from None


def decode_publish(first: int, body: bytes, version: int) -> Publish:
    """PUBLISH (§3.3). The topic is empty where a v5 client sent its alias only.

    Raises:
        Violation: As `decode`.
    """
    qos = first >> 1 & 3
    if qos == 3:
        raise malformed("A QoS may be 0, 1 or 2, got 3")  # [MQTT-3.3.1-4]
    if first & 0x08 and not qos and version != V31:
        raise malformed("DUP must be 0 in a QoS 0 message")  # [MQTT-3.3.1-2]
    return _decode_plain(first, body, version) or _decode_any(first, body, version)


def _decode_plain(first: int, body: bytes, version: int) -> Publish | None:
    """Decode a PUBLISH with an ASCII topic and no properties, which most are.

    In a third of the time of `_decode_any`, to which it leaves everything else, all that
    has to be refused included.
    """
    qos, end = first >> 1 & 3, len(body)
    if end < 2:
        return None
    after = 2 + (body[0] << 8 | body[1])
    at, packet_id = after, 0
    if qos:
        at += 2
        packet_id = int.from_bytes(body[after:at], "big")
        if not packet_id:
            return None
    if version == V5:
        if body[at : at + 1] != b"\0":  # the length of the properties
            return None
        at += 1
    topic = body[2:after]
    if at > end or not topic or not topic.isascii():
        return None
    if b"+" in topic or b"#" in topic or b"\0" in topic:
        return None
    return Publish(
        topic,
        body[at:],
        qos,
        bool(first & 1),
        bool(first & 8),
        packet_id,
        after if qos else 0,
    )


def _decode_any(first: int, body: bytes, version: int) -> Publish:
    qos = first >> 1 & 3
    reader = Reader(body)
    topic = reader.binary("the Topic Name")
    id_offset = reader.position if qos else 0
    packet_id = reader.packet_id() if qos else 0
    properties = decode_properties(reader, "PUBLISH") if version == V5 else NONE
    if properties.has(Property.SUBSCRIPTION_IDENTIFIER):
        raise protocol_error("A client may not send a Subscription Identifier with a message")
    if topic or not properties.has(Property.TOPIC_ALIAS):
        if version == V5 and not topic:  # §3.3.2.1
            raise protocol_error("An empty Topic Name needs a Topic Alias")
        check_topic_name(topic)
    payload = reader.rest()
    check_message(properties, payload)
    return Publish(
        topic,
        payload,
        qos,
        bool(first & 1),
        bool(first & 8),
        packet_id,
        id_offset,
        properties,
    )


def decode_puback(body: bytes, version: int) -> Acknowledgement:
    """PUBACK (§3.4). Reason code and properties may be left out (§3.4.2.1)."""
    reader = Reader(body)
    packet_id = reader.packet_id()
    reason, properties = _decode_reason(reader, version, PUBACK_REASONS, "PUBACK")
    return Acknowledgement(packet_id, reason, properties)


def decode_pubrec(body: bytes, version: int) -> Receipt:
    """PUBREC (§3.5)."""
    reader = Reader(body)
    packet_id = reader.packet_id()
    return Receipt(packet_id, *_decode_reason(reader, version, PUBACK_REASONS, "PUBREC"))


def decode_pubrel(body: bytes, version: int) -> Release:
    """PUBREL (§3.6)."""
    reader = Reader(body)
    packet_id = reader.packet_id()
    return Release(packet_id, *_decode_reason(reader, version, PUBREL_REASONS, "PUBREL"))


def decode_pubcomp(body: bytes, version: int) -> Completion:
    """PUBCOMP (§3.7)."""
    reader = Reader(body)
    packet_id = reader.packet_id()
    return Completion(packet_id, *_decode_reason(reader, version, PUBREL_REASONS, "PUBCOMP"))


def _decode_reason(
    reader: Reader, version: int, known: frozenset[int], packet: Place
) -> tuple[int, Properties]:
    """Read an optional reason code and optional properties to the end of a v5 packet."""
    reason = 0
    properties = NONE
    if version == V5 and not reader.is_done:
        reason = reader.byte("the Reason Code")
        if reason not in known:
            raise protocol_error(f"A {packet} has no reason code 0x{reason:02X}")
        if not reader.is_done:
            properties = decode_properties(reader, packet)
    reader.finish(packet)
    return reason, properties


def decode_subscribe(body: bytes, version: int) -> Subscribe:
    """SUBSCRIBE (§3.8)."""
    reader = Reader(body)
    packet_id = reader.packet_id()
    properties = decode_properties(reader, "SUBSCRIBE") if version == V5 else NONE
    requests: list[Request] = []
    while not reader.is_done:
        text = reader.text("a Topic Filter")
        requests.append(_decode_request(text, reader.byte("Subscription Options"), version))
        if len(requests) > MAX_FILTERS:
            raise too_many("Topic Filters in a SUBSCRIBE", MAX_FILTERS)
    if not requests:
        raise protocol_error("A SUBSCRIBE needs a Topic Filter")  # [MQTT-3.8.3-2]
    return Subscribe(packet_id, tuple(requests), properties)


def _decode_request(text: str, options: int, version: int) -> Request:
    reserved = 0xC0 if version == V5 else 0xFC
    if options & reserved and version != V31:  # where they are not used (3.1 §3.8)
        raise malformed("The reserved Subscription Options must be 0")  # [MQTT-3.8.3-5]
    qos = options & 3
    if qos == 3:
        raise protocol_error("A QoS may be 0, 1 or 2, got 3")
    handling = options >> 4 & 3
    if handling == 3:
        raise protocol_error("Retain Handling may be 0, 1 or 2, got 3")
    no_local = bool(options & 4)
    if no_local and text.startswith("$share/"):
        raise protocol_error("No Local is not for shared subscriptions")  # [MQTT-3.8.3-4]
    return Request(text, qos, no_local, bool(options & 8), handling)


def decode_unsubscribe(body: bytes, version: int) -> Unsubscribe:
    """UNSUBSCRIBE (§3.10)."""
    reader = Reader(body)
    packet_id = reader.packet_id()
    properties = decode_properties(reader, "UNSUBSCRIBE") if version == V5 else NONE
    filters: list[str] = []
    while not reader.is_done:
        filters.append(reader.text("a Topic Filter"))
        if len(filters) > MAX_FILTERS:
            raise too_many("Topic Filters in an UNSUBSCRIBE", MAX_FILTERS)
    if not filters:
        raise protocol_error("An UNSUBSCRIBE needs a Topic Filter")  # [MQTT-3.10.3-2]
    return Unsubscribe(packet_id, tuple(filters), properties)


def decode_pingreq(body: bytes, version: int) -> Ping:
    """PINGREQ (§3.12)."""
    Reader(body).finish("PINGREQ")
    return Ping()


def decode_disconnect(body: bytes, version: int) -> Disconnect:
    """DISCONNECT (§3.14). Reason code and properties may be left out."""
    reason, properties = _decode_reason(
        Reader(body), version, CLIENT_DISCONNECT_REASONS, "DISCONNECT"
    )
    return Disconnect(reason, properties)


def decode_auth(body: bytes, version: int) -> Auth:
    """AUTH (§3.15)."""
    reason, properties = _decode_reason(
        Reader(body), version, frozenset((0x00, 0x18, 0x19)), "AUTH"
    )
    return Auth(reason, properties)


_DECODERS: dict[int, tuple[int, Callable[[bytes, int], Packet]]] = {
    1: (0, decode_connect),
    4: (0, decode_puback),
    5: (0, decode_pubrec),
    6: (2, decode_pubrel),
    7: (0, decode_pubcomp),
    8: (2, decode_subscribe),
    10: (2, decode_unsubscribe),
    12: (0, decode_pingreq),
    14: (0, decode_disconnect),
    15: (0, decode_auth),
}
"""Packet type → the fixed flags [MQTT-2.1.3-1] [MQTT-3.6.1-1] and the decoder."""
