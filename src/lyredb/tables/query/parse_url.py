"""Queries in a URL: ``site=north&value==3&limit(10)&select(id,value)``.

Of the language of the conventions: equality, ``limit`` and ``select``. What else the
language has is refused by name, never taken for something different.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, unquote_plus

from lyredb.errors import InvalidQuery
from lyredb.tables.hints import did_you_mean
from lyredb.tables.query.conditions import EQUALS, Condition, UrlValue, comparator_named
from lyredb.tables.query.query import Query, Select

MAX_QUERY: Final = 16_384
"""Characters; servers and proxies do not take longer lines either."""
_CALL: Final = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)\((.*)\)", re.DOTALL)
_NAMED: Final = re.compile(r"([^=!<>]+?)(\[\])?=([a-z]+)=(.*)", re.DOTALL)
_SYMBOL: Final = re.compile(r"([^=!<>]+?)(\[\])?(===|!==|==|!=|<=|>=|=|<|>)(.*)", re.DOTALL)
_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_FUNCTIONS: Final = ("limit", "select")
_LATER_FUNCTIONS: Final = ("sort", "group-by")
_FORM_BREAKERS: Final = frozenset("()|<>![]")


def parse_query(text: str) -> Query:
    """Return the query that the part of a URL behind ``?`` means.

    Args:
        text: Not decoded; percent encoding is undone per name and value here.

    Raises:
        InvalidQuery: It cannot be understood, or uses what is not supported yet.
    """
    if len(text) > MAX_QUERY:
        raise InvalidQuery(f"a query has at most {MAX_QUERY} characters")
    plus_is_space = _is_plain_form(text)
    conditions: list[Condition] = []
    calls: dict[str, str] = {}
    for part in _parts(text):
        call = _CALL.fullmatch(part)
        if call:
            name = _function(call[1])
            if name in calls:
                raise InvalidQuery(f"{name}() stands in the query twice")
            calls[name] = call[2]
        else:
            conditions.append(_condition(part, plus_is_space=plus_is_space))
    limit, offset = _limit(calls["limit"]) if "limit" in calls else (None, 0)
    select = _select(calls["select"]) if "select" in calls else None
    return Query(tuple(conditions), limit=limit, offset=offset, select=select)


def _is_plain_form(text: str) -> bool:
    """Without operators it is what an HTML form sends, where ``+`` is a space."""
    return not _FORM_BREAKERS.intersection(text) and "==" not in text


def _parts(text: str) -> Iterator[str]:
    """Split at ``&`` outside of brackets."""
    depth = start = 0
    for at, character in enumerate(text):
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
            if depth < 0:
                raise InvalidQuery(f"unbalanced {character!r} in the query")
        elif character == "|":
            raise InvalidQuery("`|` is not supported yet; join conditions with `&`")
        elif character == "&" and not depth:
            if at > start:
                yield text[start:at]
            start = at + 1
    if depth:
        raise InvalidQuery("a bracket in the query is not closed")
    if start < len(text):
        yield text[start:]


def _function(name: str) -> str:
    if name in _FUNCTIONS:
        return name
    if name in _LATER_FUNCTIONS:
        raise InvalidQuery(f"{name}() is not supported yet")
    hint = did_you_mean(name, (*_FUNCTIONS, *_LATER_FUNCTIONS))
    raise InvalidQuery(f"unknown function {name[:40]}(){hint}")


def _condition(part: str, *, plus_is_space: bool) -> Condition:
    if part[0] in "([":
        raise InvalidQuery("groups of conditions are not supported yet")
    named = _NAMED.fullmatch(part)
    if named:
        comparator_named(named[3])  # raises for all but ``eq``
        return _equality(named[1], named[4], typed=True, plus_is_space=plus_is_space)
    match = _SYMBOL.fullmatch(part)
    if not match:
        raise InvalidQuery(f"{unquote(part)[:60]!r} is no condition; write attribute=value")
    name, symbol, value = match[1], match[3], match[4]
    comparator_named(symbol)
    if symbol == "==" and value.endswith("*"):
        raise InvalidQuery("`*` at the end (starts with) is not supported yet")
    return _equality(name, value, typed=symbol == "==", plus_is_space=plus_is_space)


def _equality(name: str, value: str, *, typed: bool, plus_is_space: bool) -> Condition:
    decode = unquote_plus if plus_is_space else unquote
    # A colon marks a type only where it is not percent-encoded, so it is told apart
    # before decoding.
    prefix, colon, rest = value.partition(":") if typed else ("", "", value)
    if not colon:
        prefix, rest = "", value
    return Condition(decode(name), EQUALS, UrlValue(decode(rest), typed, decode(prefix)))


def _limit(arguments: str) -> tuple[int, int]:
    """Return limit and offset."""
    numbers = arguments.split(",")
    if len(numbers) > 2 or not all(_NUMBER.fullmatch(number) for number in numbers):
        raise InvalidQuery("limit is limit(count) or limit(start,end), with numbers from 0 up")
    if len(numbers) == 1:
        return int(numbers[0]), 0
    start, end = int(numbers[0]), int(numbers[1])
    if end < start:
        raise InvalidQuery(f"limit(start,end) must not end before it starts, got {start},{end}")
    return end - start, start


def _select(arguments: str) -> Select:
    if arguments.startswith("[") and arguments.endswith("]"):
        return Select(_names(arguments[1:-1]), "arrays")
    if "," in arguments:
        return Select(_names(arguments.removesuffix(",")))
    return Select(_names(arguments), "values")


def _names(arguments: str) -> tuple[str, ...]:
    if any(bracket in arguments for bracket in "{}[]()"):
        raise InvalidQuery("selecting attributes of related records is not supported yet")
    names = tuple(dict.fromkeys(unquote(name) for name in arguments.split(",")))
    if not all(names):
        raise InvalidQuery("select(…) needs names of attributes")
    return names
