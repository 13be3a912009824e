"""The functions of a query in a URL: ``limit``, ``sort``, ``select`` and the switches."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from lyredb.errors import InvalidQuery
from lyredb.tables.hints import did_you_mean
from lyredb.tables.query.bounds import QueryBounds, Tally
from lyredb.tables.query.selecting import select_of
from lyredb.tables.query.terms import Form, Select, Selected, SortKey
from lyredb.tables.query.url_text import decoded, end_of_bracket, path_in, pieces, shown

_NUMBER: Final = re.compile(r"[0-9]{1,15}")
_NESTED: Final[dict[str, Form]] = {"{": "objects", "(": "values", "[": "arrays"}
"""What the bracket behind a selected name makes of what is behind it."""
_RESERVED: Final = "group-by"
_REMEMBERED_CHARACTERS: Final = 256
"""Of the arguments of a function; longer ones are read each time."""

Read = Callable[[str, Tally], dict[str, Any]]
"""Takes the arguments as text; returns attributes of a `Query`."""


def read_function(name: str, arguments: str, tally: Tally) -> dict[str, Any]:
    """Return the attributes of a `Query` that a function sets.

    Raises:
        InvalidQuery: There is no such function, or it takes other arguments.
    """
    check_function(name)
    if len(arguments) <= _REMEMBERED_CHARACTERS:
        return _remembered(name, arguments, tally.bounds)
    return _FUNCTIONS[name](arguments, tally)


@lru_cache(maxsize=512)
def _remembered(name: str, arguments: str, bounds: QueryBounds) -> dict[str, Any]:
    """As `read_function`: many queries differ in the values of their conditions only.

    Each function stands in a query once, so that nothing else is counted with its arguments.
    """
    return _FUNCTIONS[name](arguments, Tally(bounds))


def check_function(name: str) -> None:
    """Raise `InvalidQuery` when there is no function of this name."""
    if name in _FUNCTIONS:
        return
    if name == _RESERVED:
        raise InvalidQuery(f"{name}() is reserved and not supported")
    hint = did_you_mean(name, (*_FUNCTIONS, "not"))
    raise InvalidQuery(
        f"unknown function {name[:40]}(){hint}; a bracket in a name or value is written %28"
    )


def _limit(arguments: str, tally: Tally) -> dict[str, Any]:
    numbers = [one.strip() for one in arguments.split(",")]
    if len(numbers) == 2 and not numbers[1] and _NUMBER.fullmatch(numbers[0]):
        return {"offset": int(numbers[0])}
    if len(numbers) > 2 or not all(_NUMBER.fullmatch(number) for number in numbers):
        raise InvalidQuery(
            "limit is limit(count), limit(start,end) or limit(start,), with numbers from 0 up"
        )
    if len(numbers) == 1:
        return {"limit": int(numbers[0])}
    start, end = int(numbers[0]), int(numbers[1])
    if end < start:
        raise InvalidQuery(f"limit(start,end) must not end before it starts, got {start},{end}")
    return {"limit": end - start, "offset": start}


def _sort(arguments: str, tally: Tally) -> dict[str, Any]:
    keys = arguments.split(",")
    tally.sort_keys(len(keys))
    return {"sort": tuple(map(_sort_key, keys))}


def _sort_key(text: str) -> SortKey:
    """Read ``+a``, ``-a``, ``a`` or ``rel.a``; clients encode the plus."""
    sign = re.match(r"[+-]|%2[Bb]", text)
    name = text[sign.end() :] if sign else text
    if not name:
        raise InvalidQuery("sort is sort(attribute), sort(-attribute) or several with commas")
    return SortKey(path_in(name), descending=bool(sign) and text[0] == "-")


def _select(arguments: str, tally: Tally) -> dict[str, Any]:
    form: Form = "objects"
    if arguments.startswith("[") and end_of_bracket(arguments, 0) == len(arguments) - 1:
        form, arguments = "arrays", arguments[1:-1]
    elif len(names := list(pieces(arguments))) == 1:
        form = "values"
    elif not names[-1]:
        arguments = arguments[:-1]
    return {"select": _items(arguments, form, tally, 1)}


def _items(arguments: str, form: Form, tally: Tally, depth: int) -> Select:
    tally.nesting(depth)
    return select_of((_selected(one, tally, depth) for one in pieces(arguments)), form)


def _selected(text: str, tally: Tally, depth: int) -> Selected:
    """Read ``a``, or with a nested select ``rel{a,b}``, ``rel[a,b]`` or ``rel(a)``."""
    tally.selected()
    bracket = next((at for at, one in enumerate(text) if one in _NESTED), None)
    name = text[:bracket]
    if not name:
        raise InvalidQuery("select(…) needs names of attributes, with a comma between them")
    if "." in name:
        relation, _, rest = name.partition(".")
        raise InvalidQuery(
            f"{shown(name)} in select(…) is no name; of a related record or object select "
            f"{relation[:30]}{{{rest[:30]}}}"
        )
    if bracket is None:
        return Selected(decoded(name))
    if end_of_bracket(text, bracket) != len(text) - 1:
        raise InvalidQuery(f"{shown(text)} in select(…) goes on behind its bracket")
    form = _NESTED[text[bracket]]
    inner = text[bracket + 1 : -1]
    if form == "objects":
        inner = inner.removesuffix(",")
    return Selected(decoded(name), _items(inner, form, tally, depth + 1))


def _switch(attribute: str, name: str) -> Read:
    """A function that sets one flag: ``explain()`` or ``allowFullScan(false)``."""

    def read(arguments: str, tally: Tally) -> dict[str, Any]:
        if arguments not in ("", "true", "false"):
            raise InvalidQuery(f"{name} is {name}(true) or {name}(false)")
        return {attribute: arguments != "false"}

    return read


_FUNCTIONS: Final[Mapping[str, Read]] = {
    "limit": _limit,
    "sort": _sort,
    "select": _select,
    "explain": _switch("explain", "explain"),
    "enforceExecutionOrder": _switch("enforce_order", "enforceExecutionOrder"),
    "allowFullScan": _switch("allow_full_scan", "allowFullScan"),
}
