"""The value of a condition, read by the declared type of its attribute."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

from lyredb.errors import InvalidQuery
from lyredb.tables.hints import did_you_mean
from lyredb.tables.keys import safe_integer
from lyredb.tables.query.terms import Comparator, UrlValue
from lyredb.tables.schema import TableSchema, TypeRef
from lyredb.tables.times import ms_of_date, parse_date
from lyredb.tables.values import Problems, compile_check

if TYPE_CHECKING:
    from lyredb.tables.query.paths import Leaf

_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]{1,3})?")
_INTEGER: Final = re.compile(r"-?[0-9]{1,301}")
_BASE_36: Final = re.compile(r"-?[0-9a-z]{1,200}", re.IGNORECASE)
_BOOLEANS: Final = {"true": True, "false": False}
_PREFIXES: Final = ("number", "boolean", "string", "date")
_TEXT_TYPES: Final = frozenset(("String", "ID", "Bytes"))
_NUMBER_TYPES: Final = frozenset(("Int", "Long", "BigInt", "Float"))
_NO_TEXTS: Final = frozenset(("Int", "Long", "BigInt", "Float", "Boolean", "Date"))
_BIGGEST: Final = int(1.7976931348623157e308)
TEXT_COMPARATORS: Final = ("starts_with", "ends_with", "contains")
_INTEGER_TYPES: Final = frozenset(("Int", "Long", "BigInt"))


def condition_value(schema: TableSchema, name: str, value: object) -> object:
    """Return the value to look for in an attribute, in the form in which it is stored.

    A server-set time is looked for as epoch milliseconds, however it is declared.

    Args:
        schema: Of the table.
        name: Of the attribute.
        value: From code as it is, from a URL as `UrlValue`.

    Raises:
        InvalidQuery: The attribute can have no such value.
    """
    attribute = schema.attribute(name)
    if attribute is not None and attribute.role in ("created", "updated"):
        return _server_time(name, value)
    return typed_value(schema, None if attribute is None else attribute.type, name, value)


def typed_value(schema: TableSchema, type: TypeRef | None, name: str, value: object) -> object:
    """Return the value to look for where values of a type stand; see `condition_value`.

    Args:
        schema: That knows the nested types.
        type: ``None``: nobody declared it.
        name: For messages.
        value: From code as it is, from a URL as `UrlValue`.

    Raises:
        InvalidQuery: There can be no such value.
    """
    # A list matches if an element does, so a condition is about elements.
    while type is not None and type.element is not None and not isinstance(value, (list, tuple)):
        type = type.element
    if type is None or type.name == "Any":
        return _plain(name, _undeclared(name, value))
    if isinstance(value, UrlValue):
        value = _from_text(name, type, value)
    if value is None:
        return None
    if type.name in _NUMBER_TYPES and _is_number(value):
        return _plain(name, value)  # 2.5 is a fair bound for integers, and equals none of them
    problems: Problems = []
    read = compile_check(type, schema)(value, name, problems)
    if problems:
        raise _invalid(name, value)
    return _plain(name, read)


def read_value(leaf: Leaf, comparator: Comparator, value: object) -> object:
    """Return what a condition compares with.

    Args:
        leaf: The attribute.
        comparator: ``in`` and ``between`` take several values, the comparators of texts text.
        value: From code as it is, from a URL as `UrlValue`.

    Raises:
        InvalidQuery: The attribute can have no such value.
    """
    if comparator in ("in", "between"):
        if not isinstance(value, (list, tuple, set, frozenset)):
            raise InvalidQuery(f"{comparator} needs several values for {leaf.label[:60]}")
        return [_one(leaf, element) for element in value]
    if comparator in TEXT_COMPARATORS:
        return _text(leaf, value)
    if comparator == "prefix":
        elements = value if isinstance(value, (list, tuple)) else [value]
        return [_one(leaf, element) for element in elements]
    return _one(leaf, value)


def _one(leaf: Leaf, value: object) -> object:
    if leaf.source in ("created", "updated"):
        return _server_time(leaf.label, value)
    if leaf.source == "key" and leaf.type is not None and leaf.type.name == "Any":
        return _free_key(leaf.label, value)
    return typed_value(leaf.table.schema, leaf.type, leaf.label, value)


def _free_key(name: str, value: object) -> object:
    """As in paths: canonical integers are numbers, everything else is text."""
    if isinstance(value, UrlValue):
        value = _prefixed(name, value) if value.prefix else value.text
    if isinstance(value, str):
        number = safe_integer(value)
        return value if number is None else number
    return value


def _text(leaf: Leaf, value: object) -> object:
    innermost = "" if leaf.type is None else leaf.type.innermost
    if innermost in _NO_TEXTS:
        raise InvalidQuery(
            f"{leaf.label[:60]} is no text ({innermost}), it has no beginning or end"
        )
    text = value.text if isinstance(value, UrlValue) else value
    if innermost == "Bytes" and isinstance(text, str):
        return text.encode("utf-8", "replace")
    return _plain(leaf.label, text)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _plain(name: str, value: object) -> object:
    """The value in the one form that stored values have."""
    if isinstance(value, (tuple, list)):
        return [_plain(name, element) for element in value]
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, datetime):
        return parse_date(value) or value
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise _invalid(name, ascii(value)) from None
    if isinstance(value, (int, float)) and not -_BIGGEST <= value <= _BIGGEST:
        raise InvalidQuery(f"the number for {name[:60]} is too large")
    return value


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
