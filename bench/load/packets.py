"""MQTT packets as bytes, for 3.1.1 and 5: what the load sends, nothing more.

Built apart from LyreDB's codec on purpose: a load that shares its subject's code
would also share its mistakes.
"""

from __future__ import annotations

from collections.abc import Iterable

CONNECT, CONNACK, PUBLISH, PUBACK, SUBACK = 1, 2, 3, 4, 9
PUBREC, PUBREL, PUBCOMP = 0x50, 0x62, 0x70
"""First bytes of the three answers of QoS 2."""
DISCONNECT_PACKET = b"\xe0\x00"
USER_PROPERTY, SESSION_EXPIRY = b"\x26", b"\x11"
LASTS_S = 3_600
"""How long a durable session of MQTT 5 is kept; longer than a run."""


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


def user_properties(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Return a property list of MQTT 5 with these user properties (§3.3.2.3.7)."""
    body = b"".join(USER_PROPERTY + text(name) + text(value) for name, value in pairs)
    return length(len(body)) + body


def connect(
    client_id: str, *, level: int, username: str = "", password: str = "", durable: bool = False
) -> bytes:
    """A CONNECT without keep-alive; ``level`` is 4 or 5.

    The session is clean, or ``durable``: it is taken up where it was, and stays.
    """
    flags = (0 if durable else 0x02) | (0xC0 if username else 0)
    about = properties(level)
    if durable and level == 5:
        about = b"\x05" + SESSION_EXPIRY + LASTS_S.to_bytes(4, "big")
    body = text("MQTT") + bytes((level, flags)) + b"\x00\x00" + about + text(client_id)
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
    about: bytes = b"",
) -> bytes:
    """A PUBLISH; ``packet_id`` is not written at QoS 0, ``about`` is a list of properties."""
    identifier = packet_id.to_bytes(2, "big") if qos else b""
    body = text(topic) + identifier + (about or properties(level)) + payload
    return packet(PUBLISH << 4 | qos << 1 | retain, body)


def puback(packet_id: int) -> bytes:
    """A PUBACK in its short form, which 3.1.1 and 5 share."""
    return packet(PUBACK << 4, packet_id.to_bytes(2, "big"))
