"""NDJSON: one JSON value per line (https://github.com/ndjson/ndjson-spec)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from lyredb.errors import InvalidBody
from lyredb.formats.counting import check_json_count
from lyredb.formats.json_text import JSON
from lyredb.formats.pause import PAUSE

_decoder: Final = msgspec.json.Decoder()


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
        # A line end is no part of a value in JSON, so it separates values as a comma does.
        check_json_count(data.replace(b"\n", b","))
        try:
            values = _decoder.decode_lines(data)
        except (ValueError, OverflowError, RecursionError):
            values = [value for _, value in _each(data)]  # says which line it is
        JSON.check(data, values, depth=0)
        return values


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
