"""``application/x-www-form-urlencoded`` on the way out; `lyredb.tables.form` reads it.

An attribute with a list comes once for each element, what is null or absent not at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import quote_plus

from lyredb.formats.json_text import JSON
from lyredb.formats.pause import PAUSE


class FormFormat:
    """The format ``form``; of a collection each record is a form on a line of its own."""

    name: Final = "form"
    media_type: Final = "application/x-www-form-urlencoded"
    head: Final = b"content-type: application/x-www-form-urlencoded\r\n"
    """The header lines that describe a body."""
    quality: Final = 0.1
    """The server's preference; an `Accept` quality is multiplied by it."""

    def encode(self, value: object) -> bytes:
        """Encode one record; what has no names is the value of the name ``value``.

        Raises:
            TypeError: A value of a type that records do not have.
        """
        fields = value if isinstance(value, Mapping) else {"value": value}
        return "&".join(_fields(fields)).encode("ascii")

    def encode_sequence(
        self, values: Iterable[object], *, columns: Sequence[str] | None = None
    ) -> Iterator[bytes]:
        """Yield one line after the other, as the values are iterated.

        A `PAUSE` among the values is an empty part; names stand in the values, so
        ``columns`` are of no use here.
        """
        return (b"" if value is PAUSE else self.encode(value) + b"\n" for value in values)


def _fields(record: Mapping[str, object]) -> Iterator[str]:
    for name, value in record.items():
        for one in value if isinstance(value, list) else (value,):
            if one is not None:
                yield f"{quote_plus(name)}={quote_plus(_text(one))}"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    text = JSON.encode(value).decode()
    return text[1:-1] if text[:1] == '"' else text  # dates and bytes are strings in JSON


FORM: Final = FormFormat()
