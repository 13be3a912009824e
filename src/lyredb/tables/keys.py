"""The keys of one table: which values they may be, and their form in paths and topics.

A key that is not declared, or declared as ``Any``, may be written as text or as a
number: the canonical decimal text of an integer within ±2**53 is that integer, in every
protocol, so that ``7`` in a topic and ``7`` in a body are one record.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final
from uuid import uuid4

from lyredb.errors import InvalidKey, RecordNotFound
from lyredb.storage.keys import LONGEST_NATURAL, KeyValue, encode_full_key, shorten_key

SAFE_INTEGER: Final = 2**53
"""Integers up to it are exact in every client, JavaScript included."""
MAX_TEXT_BYTES: Final = 1978
"""Of a key in a table with a schema. (Open topics: what MQTT allows.)"""
MAX_FULL_KEY_BYTES: Final = 65_535
"""What a record has room for beside a shortened key."""
_CANONICAL: Final = re.compile(r"0|-?[1-9][0-9]{0,399}")
_RESERVED: Final = "\0+#"
_RANGES: Final = {"Int": 2**31, "Long": SAFE_INTEGER, "BigInt": 10**300 - 1}


class KeyRules:
    """What keys of one type are; `open_topics` allows what every topic may have.

    With ``split`` a key of several segments is the list of them, whether it was given as a
    list or as text with slashes; one of a single segment is no list.

    Attributes:
        is_integer: Only integers are keys.
    """

    __slots__ = ("_is_free", "_is_text", "_limit", "_split", "_type", "is_integer")

    def __init__(self, key_type: str, *, open_topics: bool = False, split: bool = False) -> None:
        self._split = split
        self._type = key_type
        self._limit = _RANGES.get(key_type, SAFE_INTEGER)
        self._is_free = open_topics
        self.is_integer = key_type in _RANGES
        self._is_text = key_type in ("ID", "String") and not (split or open_topics)

    def check(self, value: object) -> KeyValue:
        """Return the value as the key that it is.

        Raises:
            InvalidKey: The table cannot have it.
        """
        if isinstance(value, str):
            return self._check_text(value)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return self._check_integer(value)
        if isinstance(value, (list, tuple)):
            return self._check_list(value)
        raise InvalidKey(f"a key must be {self._wanted}, not {_kind(value)}")

    def _check_text(self, value: str) -> KeyValue:
        if self.is_integer:
            # A BigInt may come as text, because not every client has such numbers.
            if self._type == "BigInt" and _CANONICAL.fullmatch(value):
                return self._check_integer(int(value))
            raise InvalidKey(f"a key must be {self._wanted}, not a string")
        if self._type == "Any":
            number = safe_integer(value)
            if number is not None:
                return number
        if self._split and "/" in value:
            return self._segments(_check_path_text(value).split("/"))
        return value if self._is_free else _check_path_text(value)

    def _check_list(self, value: Sequence[object]) -> KeyValue:
        if not self._split:
            raise InvalidKey(
                f"a key must be {self._wanted}, not a list: only tables with split segments have "
                "such; use a string such as 'a/b'"
            )
        if not value:
            raise InvalidKey("a key must not be an empty list")
        for segment in value:
            if isinstance(segment, (list, tuple)) or (isinstance(segment, str) and "/" in segment):
                raise InvalidKey("a segment of a key is neither a list nor has it a slash")
        if len(value) == 1:
            return self.check(value[0])
        key = self._segments(value)
        _check_path_text(key_text(key))
        return key

    def _segments(self, segments: Sequence[object]) -> tuple[str | int, ...]:
        """Each as it would be alone, so that a path and a list name one record."""
        checked = [self.check(segment) for segment in segments]
        return tuple(one for one in checked if not isinstance(one, tuple))

    def _check_integer(self, value: int) -> int:
        if self._type in ("ID", "String"):
            raise InvalidKey(f"a key must be {self._wanted}, not a number")
        if not -self._limit <= value <= self._limit - (self._type == "Int"):
            raise InvalidKey(f"the key is beyond what {self._type} holds")
        return value

    def from_text(self, text: str) -> KeyValue:
        """Return the key that a path or topic names.

        Raises:
            InvalidKey: No key can have this text.
            RecordNotFound: The table has integer keys and the text is not one in its
                canonical form, so there is no such record.
        """
        if self._is_text:  # the common case: nothing but the form of the text matters
            return _check_path_text(text)
        if not self.is_integer:
            return self._check_text(text)
        if not _CANONICAL.fullmatch(text):
            raise RecordNotFound("the table's keys are integers, and the path names none")
        try:
            return self._check_integer(int(text))
        except InvalidKey as error:
            raise RecordNotFound(str(error)) from None

    def encode(self, value: object) -> bytes:
        """Return the stored form of a key, checked.

        Raises:
            InvalidKey: The table cannot have it.
        """
        return self.encode_checked(self.check(value))

    def encode_checked(self, key: KeyValue) -> bytes:
        """Return the stored form of what `check` or `from_text` has returned.

        Raises:
            InvalidKey: It is too long to be stored.
        """
        if type(key) is str and len(key) < LONGEST_NATURAL and key.isascii() and "\0" not in key:
            return b"\x30" + key.encode()  # the common case, as `encode_full_key` has it
        full = encode_full_key(key)
        if len(full) > MAX_FULL_KEY_BYTES:
            raise InvalidKey(f"a key has at most {MAX_FULL_KEY_BYTES - 1} bytes")
        return shorten_key(full)

    @property
    def generates_integers(self) -> bool:
        """A key that nobody gave is the next integer, not a UUID."""
        return self._type not in ("ID", "String")

    def generate(self, next_integer: Callable[[], int]) -> KeyValue:
        """Return a new key: a random UUID for text, the next number for all others.

        Raises:
            InvalidKey: A record has the greatest number already.
        """
        if not self.generates_integers:
            return str(uuid4())
        number = next_integer()
        try:
            return self._check_integer(number)
        except InvalidKey:
            raise InvalidKey(
                f"no key can be made: a record has the greatest one that {self._type} holds, so "
                "the new record must come with a key of its own"
            ) from None

    @property
    def _wanted(self) -> str:
        match self._type:
            case "ID" | "String":
                return "a string"
            case "Any":
                return "a string or an integer"
            case _:
                return f"an integer ({self._type})"


def key_text(key: KeyValue) -> str:
    """Return the key as it stands in a path or topic; the parts of a list with slashes."""
    if isinstance(key, str):
        return key
    if isinstance(key, tuple):
        return "/".join(str(part) for part in key)
    return str(key)


def safe_integer(text: str) -> int | None:
    """Return the integer that a key of type ``Any`` is when it stands as this text."""
    if len(text) > 17 or not _CANONICAL.fullmatch(text):
        return None
    number = int(text)
    return number if -SAFE_INTEGER <= number <= SAFE_INTEGER else None


def _check_path_text(text: str) -> str:
    """Refuse what could not be a topic, or would be ambiguous in a path."""
    if not text or text[0] == "/" or text[-1] == "/" or "//" in text:
        raise InvalidKey("a key must not be empty or have an empty segment between slashes")
    if "#" in text or "+" in text or "\0" in text:
        found = next(character for character in _RESERVED if character in text)
        raise InvalidKey(f"a key must not contain {found!r}, which topics reserve")
    # A character has at most 4 bytes: the length is only counted when it could matter.
    if len(text) * 4 > MAX_TEXT_BYTES and len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise InvalidKey(f"a key has at most {MAX_TEXT_BYTES} bytes")
    return text


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return {bool: "a boolean", float: "a fraction", dict: "an object", str: "a string"}.get(
        type(value), type(value).__name__
    )
