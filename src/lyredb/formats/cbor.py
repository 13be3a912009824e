"""CBOR (RFC 8949): dates as tag 0, integers beyond 64 bits as tags 2 and 3.

Tags for shared references (28, 29) and strings (25, 256) are refused: with them a short
body can stand for a value of any size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from typing import Final, NoReturn

import cbor2

from lyredb.errors import InvalidBody
from lyredb.formats.counting import check_cbor_count
from lyredb.formats.limits import MAX_DEPTH, check_value, too_deep
from lyredb.formats.pause import PAUSE


def _refuse(value: object, immutable: bool = False) -> NoReturn:
    raise InvalidBody("of CBOR's tags only dates and big integers are supported")


# All tags that cbor2 decodes by itself, but 0 and 1 (dates), 2 and 3 (big integers) and
# 55799 (the mark of CBOR itself). Tags that it does not know go to the tag hook.
_FOREIGN_TAGS: Final = (
    4, 5, 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000,
)  # fmt: skip
_refusals: Final = dict.fromkeys(_FOREIGN_TAGS, _refuse)


class CborFormat:
    """The format ``cbor``; see `lyredb.plugins.delivery.Format`."""

    name: Final = "cbor"
    media_type: Final = "application/cbor"
    head: Final = b"content-type: application/cbor\r\n"
    """The header lines that describe a body."""
    quality: Final = 1.0
    """The server's preference; an `Accept` quality is multiplied by it."""

    def encode(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            cbor2.CBOREncodeError: A value of a type that records do not have.
        """
        return cbor2.dumps(value)

    def encode_sequence(
        self, values: Iterable[object], *, columns: Sequence[str] | None = None
    ) -> Iterator[bytes]:
        """Yield the parts of an array of indefinite length (RFC 8949 §3.2.2).

        A `PAUSE` among the values is an empty part; names stand in the values, so
        ``columns`` are of no use here.
        """
        yield b"\x9f"
        for value in values:
            yield b"" if value is PAUSE else cbor2.dumps(value)
        yield b"\xff"

    def decode(self, data: bytes) -> object:
        """Decode one value.

        Raises:
            InvalidBody: Not CBOR, a value that records do not have, or too many.
            NestingTooDeep: More than `MAX_DEPTH` levels.
        """
        check_cbor_count(data)
        value = _decode(data)
        check_value(value)
        return value


def _decode(data: bytes) -> object:
    decoder = cbor2.CBORDecoder(
        BytesIO(data),
        tag_hook=_refuse,
        semantic_decoders=_refusals,
        # One more than allowed, so that `check_value` is what says it in our words.
        max_depth=MAX_DEPTH + 1,
        strict_hashable_types=True,
    )
    try:
        value: object = decoder.decode()
        _require_end(decoder)
        return value
    except (cbor2.CBORError, ValueError, OverflowError, TypeError) as error:
        if isinstance(error, InvalidBody):
            raise
        if isinstance(error.__cause__, InvalidBody):
            raise error.__cause__ from None
        if "depth" in str(error):
            raise too_deep() from None
        raise InvalidBody(f"the body is not valid CBOR: {error}") from error
    except RecursionError:
        raise too_deep() from None


def _require_end(decoder: cbor2.CBORDecoder) -> None:
    try:
        decoder.read(1)
    except cbor2.CBORDecodeEOF:
        return
    raise InvalidBody("the body has more bytes than its CBOR value")


CBOR: Final = CborFormat()
