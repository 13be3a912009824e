"""CSV cells to values: by the declared type of their column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from lyredb.errors import InvalidRecord
from lyredb.tables.schema import Attribute, TableSchema, TypeRef

Cell = Callable[[str], object]
"""Text to a value; raises ValueError with a sentence."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,310}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BOOLEANS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
_TEXTS: Final = frozenset(("ID", "String", "Bytes", "Blob"))
_INTEGERS: Final = frozenset(("Int", "Long", "BigInt"))


def cell_of(schema: TableSchema, column: str) -> Cell:
    """Return how the cells of a column are read.

    Text stays text. What is declared as a number, boolean or date has to be one; a list or
    nested object is JSON. In a column that is not declared numbers, booleans, lists and
    objects are recognised.
    """
    attribute = schema.attribute(column)
    if column == schema.primary_key and (attribute is None or attribute.type.name == "Any"):
        return _key
    return _any if attribute is None else _of_type(attribute, attribute.type)


def _of_type(attribute: Attribute, type: TypeRef) -> Cell:
    if type.element is not None:
        return _json
    if type.name in _TEXTS:
        return _text
    if type.name in _INTEGERS:
        return _integer
    match type.name:
        case "Float":
            return _float
        case "Boolean":
            return _boolean
        case "Date":
            return _date
        case "Any":
            return _any
    return _json  # a nested object


def _text(text: str) -> object:
    return text


def _integer(text: str) -> object:
    if not _INTEGER.fullmatch(text.strip()):
        raise ValueError("must be an integer")
    return int(text)


def _float(text: str) -> object:
    if not _NUMBER.fullmatch(text.strip()):
        raise ValueError("must be a number")
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("must be a number within the range of a double")
    return number


def _boolean(text: str) -> object:
    value = _BOOLEANS.get(text.strip().lower())
    if value is None:
        raise ValueError("must be true or false")
    return value


def _date(text: str) -> object:
    """ISO 8601 goes on as it is; digits are epoch milliseconds."""
    stripped = text.strip()
    return float(stripped) if _NUMBER.fullmatch(stripped) else stripped


def _json(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError("must be JSON") from error


def _any(text: str) -> object:
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped) and (stripped == "0" or stripped.lstrip("+-")[0] != "0"):
        return int(stripped)
    if _NUMBER.fullmatch(stripped) and not _INTEGER.fullmatch(stripped):
        number = float(stripped)
        return number if math.isfinite(number) else text
    if stripped in ("true", "false"):
        return stripped == "true"
    if stripped[:1] in ("{", "["):
        try:
            return msgspec.json.decode(stripped)
        except (msgspec.DecodeError, RecursionError):
            return text
    return text


def _key(text: str) -> object:
    """An undeclared key: canonical integers are integers, as in a path."""
    if _INTEGER.fullmatch(text) and str(int(text)) == text and abs(int(text)) <= 2**53:
        return int(text)
    return text


class Cells:
    """The columns of one file.

    Args:
        schema: Of the table.
        columns: The header row.
        null: A cell's text that stands for null.

    Raises:
        InvalidRecord: A column has no name, or two have the same.
    """

    def __init__(self, schema: TableSchema, columns: list[str], null: str) -> None:
        names = [column.strip() for column in columns]
        if not all(names):
            raise InvalidRecord("the first line must name every column")
        if len(set(names)) != len(names):
            raise InvalidRecord("the first line names a column twice")
        self._columns = [(name, cell_of(schema, name)) for name in names]
        self._null = null

    def record(self, row: list[str]) -> dict[str, object]:
        """Return the record of a row; an empty cell is an absent attribute.

        Raises:
            InvalidRecord: One sentence for each cell that is not of its type.
        """
        if len(row) > len(self._columns):
            raise InvalidRecord(f"{len(row)} cells, and the first line has {len(self._columns)}")
        record: dict[str, object] = {}
        problems: list[str] = []
        for text, (name, read) in zip(row, self._columns, strict=False):
            if not text:
                continue
            if text == self._null:
                record[name] = None
                continue
            try:
                record[name] = read(text)
            except ValueError as error:
                problems.append(f"Property {name} {error}, got {text[:40]!r}")
        if problems:
            raise InvalidRecord(*problems)
        return record
