"""The text of a query in a URL: the inverse of `parse_url.parse_query`.

What a URL cannot say, such as a list to be equal to, is refused and never written as
something else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from math import isfinite
from typing import Final
from urllib.parse import quote

from lyredb.errors import InvalidQuery
from lyredb.tables.query.comparators import URL_WORDS
from lyredb.tables.query.terms import (
    Comparator,
    Condition,
    Group,
    Query,
    Select,
    Selected,
    SortKey,
    UrlValue,
    Where,
)

_WORDS: Final[Mapping[Comparator, str]] = {name: word for word, name in URL_WORDS.items()}
_JOINTS: Final = {"and": "&", "or": "|"}
_LITERAL: Final = re.compile(r"null|true|false|-?[0-9].*", re.DOTALL)
"""Text that undeclared attributes would take for something else: no less than those."""
_MAX_DIGITS: Final = 300
"""Of an integer: as many as numbers in queries and records have."""


def format_url(query: Query) -> str:
    """Return the text behind ``?`` that means a query.

    ``parse_query`` reads an equal query from it, when values are as it reads them; those of
    Python come back as text with the type that they have.

    Raises:
        InvalidQuery: A value cannot be written in a URL.
    """
    parts = [_level(query.where)] if query.where is not None else []
    if query.sort:
        parts.append(f"sort({','.join(map(_sort_key, query.sort))})")
    if query.limit is not None:
        start = f"{query.offset}," if query.offset else ""
        parts.append(f"limit({start}{query.offset + query.limit})")
    elif query.offset:
        parts.append(f"limit({query.offset},)")
    if query.select is not None:
        parts.append(f"select({_arguments(query.select)})")
    parts += _switches(query)
    return "&".join(parts)


def _switches(query: Query) -> Iterable[str]:
    if query.explain:
        yield "explain()"
    if query.enforce_order:
        yield "enforceExecutionOrder()"
    if not query.allow_full_scan:
        yield "allowFullScan(false)"


def _level(where: Where) -> str:
    """Write what stands between two brackets."""
    if isinstance(where, Condition) or where.operator == "not":
        return _member(where)
    return _JOINTS[where.operator].join(map(_member, where.members))


def _member(where: Where) -> str:
    if isinstance(where, Group):
        if where.operator == "not":
            return f"not({_level(where.members[0])})"
        return f"[{_level(where)}]"
    return _condition(where)


def _condition(condition: Condition) -> str:
    name = ".".join(map(_name, condition.path))
    # The parser takes one pair of brackets at the end for the style of forms.
    name += "[]" if condition.path[-1].endswith("[]") else ""
    value = condition.value
    if isinstance(value, UrlValue) and not value.typed:
        return f"{name}{_strict_symbol(condition)}{_text(value.text)}"
    match condition.comparator:
        case "equals":
            return f"{name}=={_value(value)}"
        case "not_equal":
            return f"{name}!={_value(value)}"
        case "between" | "in" | "prefix":
            return f"{name}={_WORDS[condition.comparator]}={_values(value)}"
        case comparator:
            return f"{name}={_WORDS[comparator]}={_value(value)}"


def _strict_symbol(condition: Condition) -> str:
    """The longer ``===``, because ``lt=5`` may be taken for a bound of what stands before."""
    match condition.comparator:
        case "equals":
            is_bound = len(condition.path) == 1 and condition.path[0] in URL_WORDS
            return "===" if is_bound else "="
        case "not_equal":
            return "!=="
    raise InvalidQuery(f"a value that is no typed one cannot be compared by {condition.comparator}")


def _values(value: object) -> str:
    if not isinstance(value, (list, tuple)):
        raise InvalidQuery("a list of values is needed")
    return ",".join(map(_value, value)) if value else "()"


def _value(value: object) -> str:
    """Write a value so that it keeps its type whether or not its attribute is declared."""
    match value:
        case UrlValue():
            prefix = f"{_text(value.prefix)}:" if value.prefix else ""
            return f"{prefix}{_text(value.text)}"
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() if abs(value) < 10**_MAX_DIGITS:
            return str(value)
        case float() if isfinite(value):
            return _text(repr(value))
        case str():
            prefix = "string:" if not value or _LITERAL.fullmatch(value) else ""
            return f"{prefix}{_text(value)}"
        case datetime():
            return f"date:{_text(value.isoformat())}"
    raise InvalidQuery(f"a value of type {type(value).__name__} cannot be written in a URL")


def _name(name: str) -> str:
    return _text(name).replace(".", "%2E")


def _text(text: str) -> str:
    try:
        return quote(text, safe="")
    except UnicodeError:
        raise InvalidQuery("a query is UTF-8 and cannot hold half a character") from None


def _sort_key(key: SortKey) -> str:
    path = ".".join(map(_name, key.path))
    if key.descending:
        return f"-{path}"
    # A minus is not encoded, and the sign before it is what the parser takes.
    return f"+{path}" if path.startswith(("-", "%2B")) else path


def _arguments(select: Select) -> str:
    items = ",".join(map(_selected, select.items))
    match select.form:
        case "arrays":
            return f"[{items}]"
        case "objects" if len(select.items) == 1:
            return f"{items},"
        case _:
            return items


def _selected(item: Selected) -> str:
    name = _name(item.name)
    if item.select is None:
        return name
    items = ",".join(map(_selected, item.select.items))
    match item.select.form:
        case "values":
            return f"{name}({items})"
        case "arrays":
            return f"{name}[{items}]"
        case _:
            return f"{name}{{{items}}}"
