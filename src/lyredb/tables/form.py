"""Records that come as a form (``application/x-www-form-urlencoded``).

A form knows only text, so a value is read by the declared type of its attribute, as an
equality in a URL is. What cannot be read so stays text, and the rules of the table then say
what is wrong with it.
"""

from __future__ import annotations

from typing import Final

from lyredb.errors import InvalidBody, InvalidQuery
from lyredb.tables.query.terms import UrlValue
from lyredb.tables.query.values import condition_value
from lyredb.tables.schema import TableSchema

MAX_FIELDS: Final = 1000
"""Of a form; a record with more attributes than people type comes in another format."""


def read_form(body: bytes, schema: TableSchema) -> dict[str, object]:
    """Return the record or changes that a form holds.

    A name that comes several times, or whose attribute is a list, has a list of values.

    Args:
        body: As received.
        schema: Of the table that it is for.

    Raises:
        InvalidBody: No form: not UTF-8, a part without ``=``, a ``%`` that begins no
            escape, or too many fields.
    """
    fields: dict[str, list[object]] = {}
    for name, text in _pairs(body):
        fields.setdefault(name, []).append(_value(schema, name, text))
    return {
        name: values if len(values) > 1 or _is_list(schema, name) else values[0]
        for name, values in fields.items()
    }


def _pairs(body: bytes) -> list[tuple[str, str]]:
    if not body:
        return []
    try:
        parts = body.split(b"&", MAX_FIELDS)
        if len(parts) > MAX_FIELDS:
            raise ValueError("too many fields")
        return [_pair(part) for part in parts]
    except ValueError:
        raise InvalidBody(
            "the body came as application/x-www-form-urlencoded and is neither a JSON object nor "
            f"at most {MAX_FIELDS} fields name=value, in which a % is written %25; say by "
            "Content-Type what it is, such as application/json"
        ) from None


def _pair(part: bytes) -> tuple[str, str]:
    name, equals, value = part.partition(b"=")
    if not equals:
        raise ValueError("a part without =")
    return _unescaped(name), _unescaped(value)


def _unescaped(text: bytes) -> str:
    """Undo the escapes in one pass.

    The standard library makes an object of each escape: of four megabytes of them 300 MB, and
    a third of a second. Python's own escapes mean the same and are read in C.

    Raises:
        ValueError: A ``%`` without two hexadecimal digits, or no UTF-8.
    """
    text = text.replace(b"+", b" ").replace(b"\\", rb"\\").replace(b"%", rb"\x")
    return text.decode("unicode_escape").encode("latin-1").decode()


def _value(schema: TableSchema, name: str, text: str) -> object:
    try:
        return condition_value(schema, name, UrlValue(text, typed=False))
    except InvalidQuery:
        return text


def _is_list(schema: TableSchema, name: str) -> bool:
    attribute = schema.attribute(name)
    return attribute is not None and attribute.type.element is not None
