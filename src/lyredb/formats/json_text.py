"""JSON (RFC 8259): dates as ISO 8601 strings, bytes as base64 strings, integers exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from lyredb.errors import InvalidBody
from lyredb.formats.counting import MAX_VALUES, check_json_count
from lyredb.formats.limits import MAX_DEPTH, MAX_KEYS, check_depth, check_value, too_deep
from lyredb.formats.pause import PAUSE, Pause

_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder()

MAX_DIGITS: Final = 308
"""An integer with no more than these is within `MAX_INTEGER_BITS`."""
_MANY_DIGITS: Final = b"0" * (MAX_DIGITS + 1)
_DIGITS_AS_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")


class JsonFormat:
    """The format ``json``; see `lyredb.plugins.delivery.Format`."""

    name: Final = "json"
    media_type: Final = "application/json"
    head: Final = b"content-type: application/json\r\n"
    """The header lines that describe a body."""
    quality: Final = 0.8
    """The server's preference; an `Accept` quality is multiplied by it."""

    def encode(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            TypeError: A value of a type that records do not have.
        """
        return _encoder.encode(value)

    def encode_sequence(
        self, values: Iterable[object], *, columns: Sequence[str] | None = None
    ) -> Iterator[bytes]:
        """Yield the parts of an array, one element at a time, as it is iterated.

        A `PAUSE` among the values is an empty part; names stand in the values, so
        ``columns`` are of no use here.
        """
        before = b"["
        for value in values:
            if value is PAUSE:
                yield b""
                continue
            yield before + _encoder.encode(value)
            before = b","
        yield b"[]" if before == b"[" else b"]"

    def encode_lists(self, lists: Iterable[Sequence[object] | Pause]) -> Iterator[bytes]:
        """Yield what `encode_sequence` does of the values of all lists; a list at a time."""
        before = b"["
        for values in lists:
            if isinstance(values, Pause):
                yield b""
            elif values:
                yield before + _encoder.encode(values)[1:-1]
                before = b","
        yield b"[]" if before == b"[" else b"]"

    def decode(self, data: bytes) -> object:
        """Decode one value.

        Raises:
            InvalidBody: Not JSON in UTF-8, a number out of range, or too many values.
            NestingTooDeep: More than `MAX_DEPTH` levels.
        """
        if len(data) > MAX_VALUES:
            check_json_count(data)
        try:
            value: object = _decoder.decode(data)
        except RecursionError:
            raise too_deep() from None
        except UnicodeDecodeError:
            # Its own words tell the place in one string, which misleads.
            raise InvalidBody("the body is not valid UTF-8") from None
        except (ValueError, OverflowError) as error:
            raise InvalidBody(f"the body is not valid JSON: {error}") from error
        if len(data) > MAX_DEPTH:  # less has neither so many brackets nor so many digits
            self.check(data, value)
        return value

    @staticmethod
    def check(data: bytes, value: object, depth: int = 1) -> None:
        """Refuse what a record cannot hold.

        Args:
            data: What was decoded.
            value: What it was decoded to.
            depth: Of the outermost level.

        Raises:
            InvalidBody: A number out of range, or too many names in one object.
            NestingTooDeep: More than `MAX_DEPTH` levels.
        """
        # JSON has neither infinite numbers nor names that are no strings. What else there is
        # to check needs many brackets, many colons or many digits; the common case has none.
        if len(data) > MAX_DIGITS and _MANY_DIGITS in data.translate(_DIGITS_AS_ZERO):
            check_value(value, depth)
        elif data.count(b"{") + data.count(b"[") > MAX_DEPTH or (
            len(data) > MAX_KEYS and data.count(b":") > MAX_KEYS
        ):
            check_depth(value, depth)


JSON: Final = JsonFormat()


def guess_json(payload: bytes) -> bool:
    """Tell whether a payload without a content type is taken as JSON: it begins with ``{``."""
    return payload.lstrip(b" \t\r\n")[:1] == b"{"
