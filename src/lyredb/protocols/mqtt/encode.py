"""The server's packets to bytes. No I/O, no state; PUBLISH is in `encoding`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lyredb.protocols.mqtt.packets import V5
from lyredb.protocols.mqtt.properties import Property, Value, encode_property, with_length
from lyredb.protocols.mqtt.reasons import Reason, ReturnCode
from lyredb.protocols.mqtt.wire import varint

PINGRESP = b"\xd0\x00"

_MAX_REASON_STRING_BYTES = 500
"""A reason string is one sentence; more would be a filter or topic quoted at length."""


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + varint(len(body)) + body


def _reason_string(sentence: str) -> bytes:
    if not sentence:
        return b""
    cut = sentence.encode()[:_MAX_REASON_STRING_BYTES].decode(errors="ignore")
    return encode_property(Property.REASON_STRING, cut.replace("\0", "\ufffd"))


def connack(return_code: ReturnCode, is_present: bool = False) -> bytes:
    """CONNACK of 3.1 and 3.1.1, with Session Present (3.1.1 §3.2)."""
    return bytes((0x20, 2, is_present, return_code))


def connack5(
    reason: Reason,
    properties: Iterable[tuple[Property, Value | tuple[str, str]]] = (),
    *,
    is_present: bool = False,
    sentence: str = "",
) -> bytes:
    """CONNACK of 5, with Session Present (MQTT 5 §3.2)."""
    encoded = b"".join(encode_property(which, value) for which, value in properties)
    encoded += _reason_string(sentence)
    return _packet(0x20, bytes((is_present, reason)) + with_length(encoded))


def puback(packet_id: int, reason: int = 0, sentence: str = "") -> bytes:
    """PUBACK (§3.4)."""
    if not reason:
        return b"\x40\x02" + packet_id.to_bytes(2, "big")
    return _reply(0x40, packet_id, reason, sentence)


def pubrec(packet_id: int, reason: int = 0, sentence: str = "") -> bytes:
    """PUBREC (§3.5)."""
    return _reply(0x50, packet_id, reason, sentence)


def pubrel(packet_id: int, reason: int = 0) -> bytes:
    """PUBREL (§3.6)."""
    return _reply(0x62, packet_id, reason, "")


def pubcomp(packet_id: int, reason: int = 0) -> bytes:
    """PUBCOMP (§3.7)."""
    return _reply(0x70, packet_id, reason, "")


def _reply(first: int, packet_id: int, reason: int, sentence: str) -> bytes:
    """A success is the same four bytes in all versions (MQTT 5 §3.4.2.1)."""
    head = packet_id.to_bytes(2, "big")
    if not reason:
        return bytes((first, 2)) + head
    return _packet(first, head + bytes((reason,)) + with_length(_reason_string(sentence)))


def suback(packet_id: int, codes: Sequence[int], version: int, sentence: str = "") -> bytes:
    """SUBACK: one code per topic filter, in their order [MQTT-3.8.4-6]."""
    return _packet(0x90, _answers(packet_id, version, sentence) + bytes(codes))


def unsuback(packet_id: int, codes: Sequence[int], version: int, sentence: str = "") -> bytes:
    """UNSUBACK: 3.1.1 has no codes (3.1.1 §3.11.3)."""
    tail = bytes(codes) if version == V5 else b""
    return _packet(0xB0, _answers(packet_id, version, sentence) + tail)


def _answers(packet_id: int, version: int, sentence: str) -> bytes:
    head = packet_id.to_bytes(2, "big")
    return head + with_length(_reason_string(sentence)) if version == V5 else head


def disconnect(reason: Reason, sentence: str = "") -> bytes:
    """DISCONNECT; a 3.1.1 server never sends one (MQTT 5 §3.14)."""
    return _packet(0xE0, bytes((reason,)) + with_length(_reason_string(sentence)))
