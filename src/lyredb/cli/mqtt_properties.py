"""The MQTT 5 properties that ``-D`` and ``-x`` of ``lyredb pub`` and ``lyredb sub`` name.

All of them are read before anything is sent: paho would find a value that does not fit in its
own thread only, when it writes the packet.
"""

from __future__ import annotations

import argparse
import os
import struct
from typing import TYPE_CHECKING, Final

from lyredb.errors import InvalidInput

if TYPE_CHECKING:
    from paho.mqtt.properties import Properties

NEVER_EXPIRES: Final = 0xFFFF_FFFF
COMMANDS: Final = ("connect", "publish", "subscribe", "unsubscribe", "disconnect", "will")
_LARGEST: Final = {
    "Byte": 0xFF,
    "Two Byte Integer": 0xFFFF,
    "Four Byte Integer": 0xFFFF_FFFF,
    "Variable Byte Integer": 0xFFF_FFFF,
}
"""By paho's names of types; MQTT 5, section 1.5."""


def check_properties(options: argparse.Namespace) -> None:
    """Refuse a ``-D`` or ``-x`` that cannot be sent.

    Raises:
        InvalidInput: There is no such property of the command, or its value is wrong.
    """
    for words in options.properties:
        if words[0] not in COMMANDS or len(words) not in (3, 4):
            raise InvalidInput(f"-D takes {', '.join(COMMANDS)}, then a name and its value")
        if words[0] == "will" and not options.will_topic:
            raise InvalidInput("-D will needs --will-topic")
    for command in COMMANDS:
        properties_of(options, command)
    connect_properties(options)


def properties_of(options: argparse.Namespace, command: str) -> Properties | None:
    """Return the MQTT 5 properties that ``-D`` names for a command, None for none.

    Raises:
        InvalidInput: There is no such property of the command, or its value is wrong.
    """
    from paho.mqtt import MQTTException
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    kind = PacketTypes.WILLMESSAGE if command == "will" else getattr(PacketTypes, command.upper())
    found = Properties(kind)  # type: ignore[no-untyped-call]  # paho types little
    for words in options.properties:
        if words[0] != command:
            continue
        try:
            _set(found, words[1], words[2:])
            found.pack()  # type: ignore[no-untyped-call]  # as above
        except UnicodeEncodeError as error:
            raise InvalidInput(f"-D {_shown(words)}: it must be UTF-8") from error
        except struct.error as error:
            raise InvalidInput(f"-D {_shown(words)}: too long, 65535 bytes are the most") from error
        except (MQTTException, ValueError) as error:
            raise InvalidInput(f"-D {_shown(words)}: {error}") from error
    return None if found.isEmpty() else found  # type: ignore[no-untyped-call]  # as above


def connect_properties(options: argparse.Namespace) -> Properties | None:
    """Return the properties of CONNECT, those of ``-x`` and ``-c`` too.

    Raises:
        InvalidInput: As `properties_of`, or ``-x`` is no time.
    """
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    found = properties_of(options, "connect")
    expiry_s = _expiry_s(options)
    if expiry_s:
        if found is None:
            found = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # as above
        found.SessionExpiryInterval = expiry_s
    return found


def _set(found: Properties, name: str, words: list[str]) -> None:
    attribute = "".join(word.capitalize() for word in name.split("-"))
    number = found.getIdentFromName(attribute)  # type: ignore[no-untyped-call]  # as above
    if number < 0:
        raise ValueError(f"there is no property {name}")
    type_index, packets = found.properties[number]
    if found.packetType not in packets:
        raise ValueError(f"it has no property {name}")
    setattr(found, attribute, _value(found.types[type_index], words))


def _value(kind: str, words: list[str]) -> object:
    if kind == "UTF-8 String Pair":
        if len(words) != 2:
            raise ValueError("a user property has a name and a value")
        return tuple(words)
    if len(words) != 1:
        raise ValueError("one value")
    if kind == "Binary Data":
        return os.fsencode(words[0])
    if kind not in _LARGEST:
        return words[0]
    number = int(words[0]) if words[0].isascii() and words[0].isdigit() else -1
    if not 0 <= number <= _LARGEST[kind]:
        raise ValueError(f"the value must be a number, at most {_LARGEST[kind]}")
    return number


def _shown(words: list[str]) -> str:
    return os.fsencode(" ".join(words)).decode("utf-8", "replace")[:100]


def _expiry_s(options: argparse.Namespace) -> int:
    text = options.session_expiry_interval
    if text is None:
        return NEVER_EXPIRES if options.disable_clean_session else 0
    if text in ("-1", "∞"):
        return NEVER_EXPIRES
    if not (text.isascii() and text.isdigit()) or int(text) > NEVER_EXPIRES:
        raise InvalidInput(f"-x takes seconds, or -1 for ever, not {text!r}")
    return int(text)
