"""MessagePack: dates as its own timestamp, integers beyond 64 bits as extension 1."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from lyredb.errors import InvalidBody
from lyredb.formats.counting import check_msgpack_count, msgpack_values
from lyredb.formats.limits import check_value, too_deep
from lyredb.formats.pause import PAUSE

BIG_INTEGER: Final = 1
"""Extension code of an integer beyond 64 bits: two's complement, big-endian."""
_MAX_INTEGER_BYTES: Final = 129
"""A double ends at 1,024 bits, and no integer may be larger than that."""


def _decode_extension(code: int, data: memoryview) -> object:
    if code == BIG_INTEGER and 0 < len(data) <= _MAX_INTEGER_BYTES:
        return int.from_bytes(data, "big", signed=True)
    raise ValueError(f"extension type {code} is not supported")


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(ext_hook=_decode_extension)


class MessagePackFormat:
    """The format ``msgpack``; see `lyredb.plugins.delivery.Format`."""

    name: Final = "msgpack"
    media_type: Final = "application/x-msgpack"
    head: Final = b"content-type: application/x-msgpack\r\n"
    """The header lines that describe a body."""
    quality: Final = 0.9
    """The server's preference; an `Accept` quality is multiplied by it."""

    def encode(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            TypeError: A value of a type that records do not have.
        """
        try:
            return _encoder.encode(value)
        except OverflowError:
            return _encoder.encode(_with_extensions(value))

    def encode_sequence(
        self, values: Iterable[object], *, columns: Sequence[str] | None = None
    ) -> Iterator[bytes]:
        """Yield the values one after the other: a sequence, not one array.

        A `PAUSE` among the values is an empty part; names stand in the values, so
        ``columns`` are of no use here.
        """
        return (b"" if value is PAUSE else self.encode(value) for value in values)

    def decode(self, data: bytes) -> object:
        """Decode one value.

        Raises:
            InvalidBody: Not MessagePack, a value that records do not have, or too many.
            NestingTooDeep: More than `MAX_DEPTH` levels.
        """
        check_msgpack_count(data)
        value = _decoded(data)
        check_value(value)
        return value

    def decode_sequence(self, data: bytes) -> list[object]:
        """Decode values that stand one after the other, as `encode_sequence` makes them.

        Raises:
            InvalidBody, NestingTooDeep: As `decode`, of all of them together.
        """
        check_msgpack_count(data)
        # The head of an array before them: so they are decoded in one step.
        values = _decoded(b"\xdd" + msgpack_values(data).to_bytes(4, "big") + data)
        assert isinstance(values, list), "so the head says"
        for value in values:
            check_value(value)
        return values


def _decoded(data: bytes) -> object:
    try:
        value: object = _decoder.decode(data)
    except RecursionError:
        raise too_deep() from None
    except UnicodeDecodeError:
        # Its own words tell the place in one string, which misleads.
        raise InvalidBody("the body is not valid UTF-8") from None
    except (ValueError, OverflowError, TypeError) as error:
        raise InvalidBody(f"the body is not valid MessagePack: {error}") from error
    return value


def _with_extensions(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _with_extensions(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_extensions(item) for item in value]
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 64:
        size = value.bit_length() // 8 + 1
        return msgspec.msgpack.Ext(BIG_INTEGER, value.to_bytes(size, "big", signed=True))
    return value


MSGPACK: Final = MessagePackFormat()
