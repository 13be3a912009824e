"""CSV (RFC 4180): one line of names, then one per record; for people and their spreadsheets.

Absent attributes and nulls are empty, an empty text and no bytes are ``""``, so that a reader
can tell them apart. Dates are ISO 8601, bytes base64, lists and objects JSON. What has no names
(the lists and bare values of a select) has a line without a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from lyredb.formats.json_text import JSON
from lyredb.formats.pause import PAUSE

_QUOTED: Final = re.compile(r'[",\r\n]|^\s|\s$')
"""Beside what RFC 4180 §2 demands, blanks at the edges, which readers like to strip."""
_FORMULA: Final = re.compile(r"[=@\t\r]|[+-](?![\d .,()/-]*$)")
"""How a text begins that a spreadsheet would compute. Numbers and telephone numbers behind a
sign are none."""


class CsvFormat:
    """The format ``csv``, which is made and never read here.

    Args:
        guard_formulas: Put ``'`` before a text that a spreadsheet would take for a formula,
            since whoever may write a record could else run something at whoever opens the
            file. Off where a program reads it.
    """

    name: Final = "csv"
    media_type: Final = "text/csv"
    head: Final = (
        b"content-type: text/csv; charset=utf-8\r\n"
        b'content-disposition: attachment; filename="data.csv"\r\n'
    )
    """The header lines that describe a body."""
    quality: Final = 0.1
    """The server's preference; an `Accept` quality is multiplied by it."""

    def __init__(self, *, guard_formulas: bool = True) -> None:
        self._guards = guard_formulas

    def encode(self, value: object) -> bytes:
        """Encode a record with its header, or the elements of a list as `encode_sequence`.

        Raises:
            TypeError: A value of a type that records do not have.
        """
        return b"".join(self.encode_sequence(value if isinstance(value, list) else (value,)))

    def encode_sequence(
        self, values: Iterable[object], *, columns: Sequence[str] | None = None
    ) -> Iterator[bytes]:
        """Yield one line after the other, as the values are iterated.

        A `PAUSE` among the values is an empty part.

        Args:
            values: Records, or what a select makes of them. One that has none of the
                columns, such as the error that ends a stream, is a single cell of JSON.
            columns: Names of the attributes; without them those of the first record,
                and what further ones have besides is left out.
        """
        if columns is not None:
            yield self._line(columns)
        for value in values:
            if value is PAUSE:
                yield b""
            elif isinstance(value, Mapping):
                if columns is None:
                    columns = tuple(value)
                    yield self._line(columns)
                yield self._record(value, columns)
            else:
                yield self._line(value if isinstance(value, (list, tuple)) else (value,))

    def _record(self, record: Mapping[str, object], columns: Sequence[str]) -> bytes:
        if record and record.keys().isdisjoint(columns):
            return self._line((_as_json(record),))
        return self._line([record.get(name) for name in columns])

    def _line(self, cells: Iterable[object]) -> bytes:
        return (",".join([self._cell(one) for one in cells]) + "\r\n").encode()

    def _cell(self, value: object) -> str:
        if isinstance(value, str):
            return self._text(value)
        if value is None:
            return ""
        text = _as_json(value)
        if isinstance(value, (bool, int, float)):
            return text
        if text[:1] == '"':  # dates and bytes are strings in JSON
            return text[1:-1] or text
        return _quoted(text)

    def _text(self, text: str) -> str:
        if not text:
            return '""'
        if self._guards and _FORMULA.match(text):
            text = "'" + text
        return _quoted(text) if _QUOTED.search(text) else text


def _as_json(value: object) -> str:
    return JSON.encode(value).decode()


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


CSV: Final = CsvFormat()
EXACT_CSV: Final = CsvFormat(guard_formulas=False)
"""For files that a program reads again."""
