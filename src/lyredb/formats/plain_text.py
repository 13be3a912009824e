"""Plain text: a text as it is, any other value as JSON, each value of a collection a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from lyredb.formats.json_text import JSON
from lyredb.formats.pause import PAUSE


class PlainTextFormat:
    """The format ``txt``; a body in it is read by `lyredb.formats.media_type.decode_text`."""

    name: Final = "txt"
    media_type: Final = "text/plain"
    head: Final = b"content-type: text/plain; charset=utf-8\r\n"
    """The header lines that describe a body."""
    quality: Final = 0.2
    """The server's preference; an `Accept` quality is multiplied by it."""

    def encode(self, value: object) -> bytes:
        """Encode one value.

        Raises:
            TypeError: A value of a type that records do not have.
        """
        return value.encode() if isinstance(value, str) else JSON.encode(value)

    def encode_sequence(
        self, values: Iterable[object], *, columns: Sequence[str] | None = None
    ) -> Iterator[bytes]:
        """Yield one line after the other, as the values are iterated.

        A `PAUSE` among the values is an empty part; names stand in the values, so
        ``columns`` are of no use here.
        """
        return (b"" if value is PAUSE else self.encode(value) + b"\n" for value in values)


PLAIN_TEXT: Final = PlainTextFormat()
