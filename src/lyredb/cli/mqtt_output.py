r"""How ``lyredb sub`` prints messages: the format strings of mosquitto_sub, as bytes.

Three characters begin a sequence: ``%`` a part of the message or a helper, ``@`` one of
strftime(3), ``\`` a character that is hard to type. A format is read once, at the start,
so that a mistake in it is told before anybody waits for a message.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from lyredb.errors import InvalidInput

if TYPE_CHECKING:
    from paho.mqtt.client import MQTTMessage

Part: TypeAlias = "Callable[[MQTTMessage, Moment], bytes]"

_SEQUENCE: Final = re.compile(
    r"%(?P<flags>[0-]*)(?P<width>\d*)(?:\.(?P<most>\d+))?(?P<name>.)|@(?P<time>.)|\\(?P<escape>.)",
    re.DOTALL,
)
_ESCAPES: Final = {
    "\\": b"\\",
    "0": b"\0",
    "a": b"\a",
    "e": b"\x1b",
    "n": b"\n",
    "r": b"\r",
    "t": b"\t",
    "v": b"\v",
}
_WIDE: Final = frozenset("ACEFIlmpRStxX")
"""May have flags and a width."""
_CUT: Final = frozenset("CIRt")
"""May have a largest width."""
_PADDED_WITH_ZEROS: Final = frozenset("AEFlmSXx")
_MAX_WIDTH: Final = 10_000


class Moment:
    """When a message came.

    Args:
        ns: Nanoseconds since 1970.
    """

    def __init__(self, ns: int) -> None:
        self.ns = ns
        self._local = time.localtime(ns // 1_000_000_000)

    def text(self, format: str) -> str:
        """As strftime(3), in local time."""
        return time.strftime(format, self._local)

    @property
    def fraction_ns(self) -> int:
        """Nanoseconds of the current second."""
        return self.ns % 1_000_000_000


class PayloadNotJson(Exception):
    """``%J`` was asked for, and a payload is not JSON."""


class Output:
    """Renders messages by a format string.

    Args:
        format: See the module.
        pretty: JSON in several lines.

    Raises:
        InvalidInput: It has a sequence that there is not.
    """

    def __init__(self, format: str, *, pretty: bool = False) -> None:
        self._pretty = pretty
        self._parts: list[Part] = []
        at = 0
        for found in _SEQUENCE.finditer(format):
            self._add_text(format[at : found.start()])
            self._parts.append(self._part(found))
            at = found.end()
        self._add_text(format[at:])

    def render(self, message: MQTTMessage, ns: int) -> bytes:
        """Return a message as it is printed, without an end of line.

        Args:
            message: As it came.
            ns: When it came, nanoseconds since 1970.

        Raises:
            PayloadNotJson: It would have to be.
        """
        moment = Moment(ns)
        return b"".join(part(message, moment) for part in self._parts)

    def _add_text(self, text: str) -> None:
        if any(character in text for character in "%@\\"):
            raise InvalidInput("the format ends in the middle of a sequence")
        if text:
            encoded = os.fsencode(text)
            self._parts.append(lambda _, __: encoded)

    def _part(self, found: re.Match[str]) -> Part:
        if found["escape"] is not None:
            return _constant(_known(_ESCAPES, found["escape"], found[0]))
        if found["time"] is not None:
            return _time_part(found["time"])
        name = found["name"]
        if name == "%":
            return _constant(b"%")
        if name in "jJ":
            is_quoted = name == "j"
            return lambda message, moment: self._json(message, moment, is_quoted=is_quoted)
        part = _known(_PARTS, name, found[0])
        return _sized(part, found) if name in _WIDE else part

    def _json(self, message: MQTTMessage, moment: Moment, *, is_quoted: bool) -> bytes:
        told = described(message, moment)
        if is_quoted:
            told["payload"] = message.payload.decode("utf-8", "replace")
        else:
            try:
                told["payload"] = json.loads(message.payload) if message.payload else None
            except ValueError:
                raise PayloadNotJson(message.topic) from None
        shape: dict[str, Any] = {"indent": 4} if self._pretty else {"separators": (",", ":")}
        return json.dumps(told, ensure_ascii=False, **shape).encode()


def described(message: MQTTMessage, moment: Moment) -> dict[str, Any]:
    """Return a message as the JSON of mosquitto_sub has it, but for its payload."""
    zone = moment.text("%z")
    told: dict[str, Any] = {
        "tst": f"{moment.text('%Y-%m-%dT%H:%M:%S')}.{moment.fraction_ns // 1000:06}{zone}",
        "topic": message.topic,
        "qos": message.qos,
        "retain": int(message.retain),
        "payloadlen": len(message.payload),
    }
    if message.qos:
        told["mid"] = message.mid
    properties = _properties_of(message)
    if properties:
        told["properties"] = properties
    return told


_PROPERTIES: Final = {
    "payload-format-indicator": "PayloadFormatIndicator",
    "message-expiry-interval": "MessageExpiryInterval",
    "content-type": "ContentType",
    "response-topic": "ResponseTopic",
    "correlation-data": "CorrelationData",
    "topic-alias": "TopicAlias",
}


def _properties_of(message: MQTTMessage) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, attribute in _PROPERTIES.items():
        value = _property(message, attribute)
        if value is not None:
            found[name] = value.decode("latin-1") if isinstance(value, bytes) else value
    pairs = _property(message, "UserProperty")
    if pairs:
        found["user-properties"] = _joined(pairs)
    identifiers = _property(message, "SubscriptionIdentifier")
    if identifiers:
        found["subscription-identifier"] = identifiers[0]
    return found


def _joined(pairs: Sequence[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return user properties as an object; a name that stands twice has a list."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name, []).append(value)
    return {name: some if len(some) > 1 else some[0] for name, some in values.items()}


def _property(message: MQTTMessage, attribute: str) -> Any:
    return getattr(message.properties, attribute, None)


def _text_of(attribute: str) -> Part:
    def part(message: MQTTMessage, _: Moment) -> bytes:
        value = _property(message, attribute)
        if isinstance(value, list):
            value = value[0]
        if value is None:
            return b""
        return value if isinstance(value, bytes) else str(value).encode()

    return part


def _user_properties(message: MQTTMessage, _: Moment) -> bytes:
    pairs = _property(message, "UserProperty") or []
    return " ".join(f"{name}:{value}" for name, value in pairs).encode()


_PARTS: Final[dict[str, Part]] = {
    "A": _text_of("TopicAlias"),
    "C": _text_of("ContentType"),
    "D": _text_of("CorrelationData"),
    "E": _text_of("MessageExpiryInterval"),
    "F": _text_of("PayloadFormatIndicator"),
    "I": lambda _, moment: moment.text("%Y-%m-%dT%H:%M:%S%z").encode(),
    "l": lambda message, _: b"%d" % len(message.payload),
    "m": lambda message, _: b"%d" % message.mid,
    "P": _user_properties,
    "p": lambda message, _: bytes(message.payload),
    "q": lambda message, _: b"%d" % message.qos,
    "R": _text_of("ResponseTopic"),
    "r": lambda message, _: b"%d" % message.retain,
    "S": _text_of("SubscriptionIdentifier"),
    "t": lambda message, _: message.topic.encode(),
    "U": lambda _, moment: f"{moment.ns // 1_000_000_000}.{moment.fraction_ns:09}".encode(),
    "x": lambda message, _: message.payload.hex().encode(),
    "X": lambda message, _: message.payload.hex().upper().encode(),
}


def _constant(value: bytes) -> Part:
    return lambda _, __: value


def _time_part(name: str) -> Part:
    if name == "@":
        return _constant(b"@")
    if name == "N":
        return lambda _, moment: b"%09d" % moment.fraction_ns
    return lambda _, moment: moment.text(f"%{name}").encode()


def _sized(part: Part, found: re.Match[str]) -> Part:
    """Bring a part to the widths that stand before its name."""
    name, flags = found["name"], found["flags"]
    width = int(found["width"] or 0)
    most = int(found["most"]) if found["most"] and name in _CUT else None
    if max(width, most or 0) > _MAX_WIDTH:
        raise InvalidInput(f"a width may be {_MAX_WIDTH}, not {found[0]!r}")
    fill = b"0" if "0" in flags and name in _PADDED_WITH_ZEROS else b" "

    def sized(message: MQTTMessage, moment: Moment) -> bytes:
        value = part(message, moment)[:most]
        return value.ljust(width) if "-" in flags else value.rjust(width, fill)

    return sized


def _known(table: dict[str, Any], name: str, sequence: str) -> Any:
    try:
        return table[name]
    except KeyError:
        raise InvalidInput(f"there is no {sequence!r} in a format") from None
