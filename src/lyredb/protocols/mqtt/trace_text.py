"""Packets in words, for people who look for what goes wrong between a client and this server.

Both directions, whatever is in them: what cannot be read is said so, nothing is refused.
Passwords and authentication data are never shown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from lyredb.protocols.mqtt.packets import V5
from lyredb.protocols.mqtt.properties import FORMS, Property
from lyredb.protocols.mqtt.reasons import Reason, Violation
from lyredb.protocols.mqtt.wire import MAX_VARINT, Reader, read_header

MAX_PAYLOAD: Final = 60
"""Bytes of a payload that are shown."""
_MAX_TEXT: Final = 200
_MAX_PROPERTIES: Final = 20
_PROTOCOLS: Final = {3: "3.1", 4: "3.1.1", 5: "5"}
_SECRET: Final = Property.AUTHENTICATION_DATA


def split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield first byte and body of each packet in whole packets."""
    position = 0
    while position < len(data):
        try:
            header = read_header(data, position, MAX_VARINT)
        except Violation:
            header = None
        if header is None or header[1] > len(data):
            yield 0, data[position:]
            return
        body, end = header
        yield data[position], data[body:end]
        position = end


def describe(first: int, body: bytes, version: int) -> str:
    """Return a packet in words.

    Args:
        first: The first byte of its header; 0 for what is no packet.
        body: What follows its length.
        version: Of the protocol; a CONNECT says its own.
    """
    name, details = _KINDS[first >> 4]
    try:
        reader = Reader(body)
        words = details(reader, first, version)
    except Violation as violation:
        return f"{name} that cannot be read: {violation}: {_shown(body)}"
    return f"{name} {words}".rstrip()


def version_in(body: bytes) -> int:
    """Return the protocol version of a CONNECT, 4 when it cannot be read."""
    try:
        reader = Reader(body)
        reader.text("the protocol name")
        return reader.byte("the protocol version") & 0x7F
    except Violation:
        return 4


def _connect(reader: Reader, _: int, __: int) -> str:
    reader.text("the protocol name")
    version = reader.byte("the protocol version") & 0x7F
    flags = reader.byte("the flags")
    keep_alive_s = reader.two_bytes("the keep alive")
    properties = _properties(reader, version)
    client_id = reader.text("the client identifier")
    words = [
        f"MQTT {_PROTOCOLS.get(version, str(version))}",
        f"client {client_id!r}",
        f"keep alive {keep_alive_s} s",
        "clean" if flags & 0x02 else "keeps its session",
    ]
    if flags & 0x04:
        will = _properties(reader, version)
        topic = reader.text("the will's topic")
        payload = reader.binary("the will")
        words.append(f"will {topic!r} q{flags >> 3 & 3} r{flags >> 5 & 1} {_shown(payload)}{will}")
    if flags & 0x80:
        words.append(f"user {reader.text('the user name')!r}")
    if flags & 0x40:
        words.append("password")
    return ", ".join(words) + properties


def _connack(reader: Reader, _: int, version: int) -> str:
    present = "session present, " if reader.byte("the flags") & 1 else ""
    code = reader.byte("the reason")
    words = _reason(code) if version == V5 else f"code {code}"
    return present + words + _properties(reader, version)


def _publish(reader: Reader, first: int, version: int) -> str:
    qos = first >> 1 & 3
    topic = reader.text("the topic")
    flags = f"q{qos} r{first & 1} d{first >> 3 & 1}"
    number = f" m{reader.two_bytes('the packet identifier')}" if qos else ""
    properties = _properties(reader, version)
    payload = reader.take(reader.end - reader.position, "the payload")
    return f"{topic!r} {flags}{number} {_shown(payload)}{properties}"


def _acknowledgement(reader: Reader, _: int, version: int) -> str:
    number = f"m{reader.two_bytes('the packet identifier')}"
    if reader.is_done:
        return number
    return f"{number} {_reason(reader.byte('the reason'))}{_properties(reader, version)}"


def _subscribe(reader: Reader, _: int, version: int) -> str:
    number = reader.two_bytes("the packet identifier")
    properties = _properties(reader, version)
    words = []
    while not reader.is_done:
        filter = reader.text("a topic filter")
        options = reader.byte("its options")
        extra = f" options 0x{options:02x}" if options & ~3 else ""
        words.append(f"{filter!r} q{options & 3}{extra}")
    return f"m{number} {', '.join(words)}{properties}"


def _unsubscribe(reader: Reader, _: int, version: int) -> str:
    number = reader.two_bytes("the packet identifier")
    properties = _properties(reader, version)
    words = []
    while not reader.is_done:
        words.append(repr(reader.text("a topic filter")))
    return f"m{number} {', '.join(words)}{properties}"


def _codes(reader: Reader, _: int, version: int) -> str:
    number = reader.two_bytes("the packet identifier")
    properties = _properties(reader, version)
    codes = reader.take(reader.end - reader.position, "the reasons")
    return f"m{number} {', '.join(f'0x{code:02x}' for code in codes)}{properties}"


def _end(reader: Reader, _: int, version: int) -> str:
    if reader.is_done:
        return ""
    return _reason(reader.byte("the reason")) + _properties(reader, version)


def _nothing(_: Reader, __: int, ___: int) -> str:
    return ""


_KINDS: Final[tuple[tuple[str, Callable[[Reader, int, int], str]], ...]] = (
    ("bytes that are no packet", lambda reader, _, __: _shown(reader.data)),
    ("CONNECT", _connect),
    ("CONNACK", _connack),
    ("PUBLISH", _publish),
    ("PUBACK", _acknowledgement),
    ("PUBREC", _acknowledgement),
    ("PUBREL", _acknowledgement),
    ("PUBCOMP", _acknowledgement),
    ("SUBSCRIBE", _subscribe),
    ("SUBACK", _codes),
    ("UNSUBSCRIBE", _unsubscribe),
    ("UNSUBACK", _codes),
    ("PINGREQ", _nothing),
    ("PINGRESP", _nothing),
    ("DISCONNECT", _end),
    ("AUTH", _end),
)


def _properties(reader: Reader, version: int) -> str:
    """Read properties where the version has them; return them with a space before each."""
    if version != V5 or reader.is_done:
        return ""
    length = reader.varint("the Property Length")
    inner = Reader(reader.take(length, "the properties"))
    words: list[str] = []
    while not inner.is_done:
        word = _property(inner)
        if len(words) < _MAX_PROPERTIES:
            words.append(word)
    return "".join(f" {word}" for word in words)


def _property(reader: Reader) -> str:
    identifier = reader.varint("a property identifier")
    form = FORMS.get(identifier)
    if form is None:
        rest = reader.take(reader.end - reader.position, "a property")
        return f"unknown property 0x{identifier:02x} {_shown(rest)}"
    name = Property(identifier).name.lower().replace("_", "-")
    match form.kind:
        case "pair":
            key = reader.text("a user property")
            return f"{_cut(key)}={_cut(reader.text('a user property'))}"
        case "text":
            return f"{name}={_cut(reader.text(name))}"
        case "binary":
            value = reader.binary(name)
            return f"{name}=…" if identifier == _SECRET else f"{name}={_shown(value)}"
        case "two":
            return f"{name}={reader.two_bytes(name)}"
        case "four":
            return f"{name}={reader.four_bytes(name)}"
        case "varint":
            return f"{name}={reader.varint(name)}"
        case _:
            return f"{name}={reader.byte(name)}"


def _reason(code: int) -> str:
    try:
        name = Reason(code).name.lower().replace("_", " ")
    except ValueError:
        return f"0x{code:02x}"
    return f"0x{code:02x} {name}"


def _cut(text: str) -> str:
    return repr(text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…")


def _shown(payload: bytes) -> str:
    """Return size and beginning: as text where it is UTF-8 and printable, else as hex."""
    begin = payload[:MAX_PAYLOAD]
    more = "…" if len(payload) > MAX_PAYLOAD else ""
    text = begin.decode("utf-8", "replace")
    if more:
        text = text.rstrip("\ufffd")  # the last character may be cut
    told = repr(text) if text.isprintable() and "\ufffd" not in text else begin.hex()
    return f"{len(payload)} bytes" + (f" {told}{more}" if payload else "")
