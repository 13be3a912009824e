"""The value of a condition, read by the declared type of its attribute."""

from __future__ import annotations

import re
from typing import Final

from lyredb.errors import InvalidQuery
from lyredb.tables.hints import did_you_mean
from lyredb.tables.query.terms import UrlValue
from lyredb.tables.schema import TableSchema, TypeRef
from lyredb.tables.times import ms_of_date, parse_date
from lyredb.tables.values import Problems, compile_check

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_INTEGER: Final = re.compile(r"-?[0-9]{1,301}")
_BASE_36: Final = re.compile(r"-?[0-9a-z]{1,200}", re.IGNORECASE)
_BOOLEANS: Final = {"true": True, "false": False}
_PREFIXES: Final = ("number", "boolean", "string", "date")
_TEXT_TYPES: Final = frozenset(("String", "ID", "Bytes"))
_INTEGER_TYPES: Final = frozenset(("Int", "Long", "BigInt"))


def condition_value(schema: TableSchema, name: str, value: object) -> object:
    """Return the value to look for, in the form in which the attribute is stored.

    A server-set time is looked for as epoch milliseconds, however it is declared.

    Args:
        schema: Of the table.
        name: Of the attribute.
        value: From code as it is, from a URL as `UrlValue`.

    Raises:
        InvalidQuery: The attribute can have no such value.
    """
    attribute = schema.attribute(name)
    if attribute is None:
        return _undeclared(name, value)
    if attribute.role in ("created", "updated"):
        return _server_time(name, value)
    # A list matches if an element does, so a condition is about elements.
    type = attribute.type
    while type.element is not None and not isinstance(value, (list, tuple)):
        type = type.element
    if isinstance(value, UrlValue):
        value = _from_text(name, type, value)
    if value is None:
        return None
    problems: Problems = []
    read = compile_check(type, schema)(value, name, problems)
    if problems:
        raise _invalid(name, value)
    return read


def _undeclared(name: str, value: object) -> object:
    if not isinstance(value, UrlValue):
        return value
    if value.prefix:
        return _prefixed(name, value)
    if not value.typed:
        return value.text
    return _recognised(name, value.text)


def _recognised(name: str, text: str) -> object:
    """A value whose type nobody declared: null, a boolean, a number, else text."""
    if text == "null":
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    return _number(name, text) if _NUMBER.fullmatch(text) else text


def _prefixed(name: str, value: UrlValue) -> object:
    match value.prefix:
        case "string":
            return value.text
        case "boolean":
            return _boolean(name, value.text)
        case "date":
            date = parse_date(_milliseconds(value.text))
            if date is None:
                raise _invalid(name, value.text)
            return date
        case "number":
            return _prefixed_number(name, value.text)
    hint = did_you_mean(value.prefix, _PREFIXES)
    raise InvalidQuery(
        f"unknown type {value.prefix[:40]!r} before the value of {name[:60]}{hint}; "
        "a colon in the value itself must be written %3A"
    )


def _prefixed_number(name: str, text: str) -> object:
    if text.startswith("$") and _BASE_36.fullmatch(text[1:]):
        return int(text[1:], 36)
    return _number(name, text)


def _from_text(name: str, type: TypeRef, value: UrlValue) -> object:
    if type.name == "Any":
        return _undeclared(name, value)
    if value.prefix:
        return _prefixed(name, value)
    if value.typed and value.text == "null":
        return None
    if type.name in _TEXT_TYPES:
        return value.text
    if not value.text:
        return None
    if type.name == "Boolean":
        return _boolean(name, value.text)
    if type.name == "Date":
        return _milliseconds(value.text)
    if type.name in _INTEGER_TYPES:
        if not _INTEGER.fullmatch(value.text):
            raise _invalid(name, value.text)
        return int(value.text)
    if type.name == "Float":
        return _number(name, value.text)
    raise InvalidQuery(f"conditions on objects such as {name[:60]} are not supported yet")


def _milliseconds(text: str) -> object:
    """Digits are epoch milliseconds, everything else has to be ISO 8601."""
    return float(text) if _NUMBER.fullmatch(text) else text


def _number(name: str, text: str) -> int | float:
    if not _NUMBER.fullmatch(text):
        raise _invalid(name, text)
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _invalid(name, text)
    return int(text) if _INTEGER.fullmatch(text) else number


def _boolean(name: str, text: str) -> bool:
    if text not in _BOOLEANS:
        raise _invalid(name, text)
    return _BOOLEANS[text]


def _server_time(name: str, value: object) -> object:
    if isinstance(value, UrlValue):
        value = _milliseconds(value.text)
    if value is None:
        return None
    date = parse_date(value)
    if date is None:
        raise _invalid(name, value)
    return ms_of_date(date)


def _invalid(name: str, value: object) -> InvalidQuery:
    text = value.text if isinstance(value, UrlValue) else value
    return InvalidQuery(f"Invalid value for attribute {name[:60]}: {str(text)[:60]!r}")
