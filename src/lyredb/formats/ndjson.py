"""NDJSON: one JSON value per line (https://github.com/ndjson/ndjson-spec)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from lyredb.errors import InvalidBody
from lyredb.formats.counting import MAX_VALUES
from lyredb.formats.json_text import JSON
from lyredb.formats.pause import PAUSE


class NdjsonFormat:
    """The format ``ndjson``, for collections; a single value is one line."""

    name: Final = "ndjson"
    media_type: Final = "application/x-ndjson"
    head: Final = b"content-type: application/x-ndjson\r\n"
    """The header lines that describe a body."""
    quality: Final = 0.6
    """The server's preference; an `Accept` quality is multiplied by it."""

    def encode(self, value: object) -> bytes:
        """Encode one value, or the elements of a list.

        Raises:
            TypeError: A value of a type that records do not have.
        """
        return b"".join(self.encode_sequence(value if isinstance(value, list) else (value,)))

    def encode_sequence(
        self, values: Iterable[object], *, columns: Sequence[str] | None = None
    ) -> Iterator[bytes]:
        """Yield one line after the other, as the values are iterated.

        A `PAUSE` among the values is an empty part; names stand in the values, so
        ``columns`` are of no use here.
        """
        return (b"" if value is PAUSE else JSON.encode(value) + b"\n" for value in values)

    def decode(self, data: bytes) -> list[object]:
        """Decode the lines; blank ones count as none.

        Raises:
            InvalidBody: A line is not JSON, which it names, or there are too many values.
            NestingTooDeep: More than `MAX_DEPTH` levels.
        """
        # Each line is a value, and may hold more of them.
        if data.count(b"\n") + data.count(b",") + data.count(b":") >= MAX_VALUES:
            return _decode_many(data)
        return [value for _, value in _each(data)]


def _decode_many(data: bytes) -> list[object]:
    """Decode what may have too many values: commas and colons of strings are none."""
    found: list[object] = []
    left = MAX_VALUES
    for line, value in _each(data):
        left -= _count(value)
        if left < 0:
            raise InvalidBody(f"line {line}: a body has at most {MAX_VALUES} values and names")
        found.append(value)
    return found


def _count(value: object) -> int:
    if isinstance(value, dict):
        return 1 + len(value) + sum(map(_count, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(_count, value))
    return 1


def _each(data: bytes) -> Iterator[tuple[int, object]]:
    start, number = 0, 0
    while start < len(data):
        number += 1
        end = data.find(b"\n", start)
        end = len(data) if end < 0 else end
        line = data[start:end].strip(b" \t\r")
        start = end + 1
        if not line:
            continue
        try:
            yield number, JSON.decode(line)
        except InvalidBody as error:
            raise type(error)(f"line {number}: {error}") from error


NDJSON: Final = NdjsonFormat()
