"""CSV cells to values: by the declared type of their column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from lyredb.errors import InvalidRecord, LyreError
from lyredb.formats import JSON
from lyredb.tables.schema import Attribute, TableSchema, TypeRef

Cell = Callable[[str], object]
"""Text to a value; raises ValueError with a sentence."""

EMPTY_TEXT: Final = "\udcff"
"""A cell that is an empty text; no other can be this, since it is no Unicode."""
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,310}")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_BOOLEANS: Final[Mapping[str, bool]] = {
    **dict.fromkeys(("true", "t", "yes", "y", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "0"), False),
}
_TEXTS: Final = frozenset(("ID", "String", "Bytes"))
_INTEGERS: Final = frozenset(("Int", "Long", "BigInt"))


def cell_of(schema: TableSchema, column: str) -> Cell:
    """Return how the cells of a column are read.

    Text stays text. What is declared as a number, boolean or date has to be one; a list or
    nested object is JSON. In a column that is not declared numbers, booleans, lists and
    objects are recognised.
    """
    attribute = schema.attribute(column)
    if column == schema.primary_key and (attribute is None or attribute.type.name == "Any"):
        return key_of
    return _any if attribute is None else _of_type(attribute, attribute.type)


def _of_type(attribute: Attribute, type: TypeRef) -> Cell:
    if type.element is not None:
        return json_of
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
        case "Blob":
            return _blob
    return json_of  # a nested object


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


def _blob(text: str) -> object:
    """Text, or the object by which an export shows content of another type."""
    try:
        value = json_of(text) if text.startswith('{"contentType":') else None
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def json_of(text: str) -> object:
    """Return the value of JSON text.

    Raises:
        ValueError: It is none.
    """
    try:
        return JSON.decode(text.encode())
    except LyreError as error:
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
            return json_of(stripped)
        except ValueError:
            return text
    return text


def key_of(text: str) -> object:
    """Return an undeclared key: canonical integers are integers, as in a path."""
    if _INTEGER.fullmatch(text) and str(int(text)) == text and abs(int(text)) <= 2**53:
        return int(text)
    return text


def check_columns(schema: TableSchema, names: Sequence[str]) -> None:
    """Refuse columns that no record can be given.

    Raises:
        InvalidRecord: A column has no name, two have the same, or one is computed or a
            relation.
    """
    if not all(names):
        raise InvalidRecord("a column has no name")
    if len(set(names)) != len(names):
        raise InvalidRecord("two columns have the same name")
    for name in names:
        attribute = schema.attribute(name)
        if attribute is not None and attribute.is_virtual:
            raise InvalidRecord(
                f"the column {name} is computed or a relation, which is made from other "
                "attributes; leave it out"
            )


class Cells:
    """The columns of one file.

    Args:
        schema: Of the table.
        columns: The header row.
        null: A cell's text that stands for null.
        key: The column that is the key, ``""`` for that of the key attribute.

    Raises:
        InvalidRecord: See `check_columns`.
    """

    def __init__(self, schema: TableSchema, columns: list[str], null: str, key: str = "") -> None:
        names = [column.strip() for column in columns]
        check_columns(schema, names)
        self._columns = [
            (
                name,
                cell_of(schema, schema.primary_key if name == key else name),
                _empty_of(schema, name),
            )
            for name in names
        ]
        self._null = null

    def record(self, row: list[str]) -> dict[str, object]:
        """Return the record of a row.

        An empty cell is an absent attribute; in columns of text ``""`` is an empty text.

        Raises:
            InvalidRecord: One sentence for each cell that is not of its type.
        """
        if len(row) > len(self._columns):
            raise InvalidRecord(f"{len(row)} cells, and the first line has {len(self._columns)}")
        record: dict[str, object] = {}
        problems: list[str] = []
        for text, (name, read, empty) in zip(row, self._columns, strict=False):
            if not text:
                continue
            if text == self._null:
                record[name] = None
                continue
            if text == EMPTY_TEXT:
                if empty is not None:
                    record[name] = empty
                continue
            try:
                record[name] = read(text)
            except ValueError as error:
                problems.append(f"Property {name} {error}, got {text[:40]!r}")
        if problems:
            raise InvalidRecord(*problems)
        return record


def _empty_of(schema: TableSchema, name: str) -> object:
    """Return what an empty text is in a column, ``None`` where it is nothing."""
    attribute = schema.attribute(name)
    if attribute is None:
        return None if name == schema.primary_key else ""
    is_text = attribute.type.element is None and attribute.type.name in (*_TEXTS, "Blob", "Any")
    return "" if is_text and name != schema.primary_key else None
