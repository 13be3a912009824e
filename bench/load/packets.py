"""MQTT packets as bytes, for 3.1.1 and 5: what the load sends, nothing more.

Built apart from LyreDB's codec on purpose: a load that shares its subject's code
would also share its mistakes.
"""

from __future__ import annotations

CONNECT, CONNACK, PUBLISH, PUBACK, SUBACK = 1, 2, 3, 4, 9
DISCONNECT_PACKET = b"\xe0\x00"


def length(size: int) -> bytes:
    """Return ``size`` as a Variable Byte Integer (MQTT 5 §1.5.5)."""
    digits = bytearray()
    while True:
        size, digit = divmod(size, 128)
        digits.append(digit | 0x80 if size else digit)
        if not size:
            return bytes(digits)


def text(value: str) -> bytes:
    """Return ``value`` as a UTF-8 Encoded String (MQTT 5 §1.5.4)."""
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


def packet(first: int, body: bytes) -> bytes:
    """Put the fixed header (MQTT 5 §2.1.1) before ``body``."""
    return bytes((first,)) + length(len(body)) + body


def properties(level: int) -> bytes:
    """Return the empty property list of MQTT 5, or nothing for 3.1.1."""
    return b"\x00" if level == 5 else b""


def connect(client_id: str, *, level: int, username: str = "", password: str = "") -> bytes:
    """A CONNECT with a clean session and no keep-alive; ``level`` is 4 or 5."""
    flags = 0x02 | (0xC0 if username else 0)
    body = text("MQTT") + bytes((level, flags)) + b"\x00\x00" + properties(level) + text(client_id)
    if username:
        body += text(username) + text(password)
    return packet(CONNECT << 4, body)


def subscribe(topic_filter: str, *, qos: int, level: int) -> bytes:
    """A SUBSCRIBE with packet identifier 1 for one filter."""
    return packet(0x82, b"\x00\x01" + properties(level) + text(topic_filter) + bytes((qos,)))


def publish(
    topic: str,
    payload: bytes,
    *,
    level: int,
    qos: int = 0,
    retain: bool = False,
    packet_id: int = 0,
) -> bytes:
    """A PUBLISH; ``packet_id`` is written for QoS 1 only."""
    identifier = packet_id.to_bytes(2, "big") if qos else b""
    body = text(topic) + identifier + properties(level) + payload
    return packet(PUBLISH << 4 | qos << 1 | retain, body)


def puback(packet_id: int) -> bytes:
    """A PUBACK in its short form, which 3.1.1 and 5 share."""
    return packet(PUBACK << 4, packet_id.to_bytes(2, "big"))
