"""The names of comparators, in every notation; ``docs/queries.md`` has them in a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lyredb.errors import InvalidQuery
from lyredb.tables.hints import did_you_mean
from lyredb.tables.query.terms import Comparator

URL_WORDS: Final[Mapping[str, Comparator]] = {
    "eq": "equals",
    "ne": "not_equal",
    "gt": "greater_than",
    "ge": "greater_than_equal",
    "lt": "less_than",
    "le": "less_than_equal",
    "sw": "starts_with",
    "ew": "ends_with",
    "ct": "contains",
    "bt": "between",
    "in": "in",
    "pf": "prefix",
}
"""Between the ``=`` signs of a URL: ``value=gt=30``."""
URL_SYMBOLS: Final[Mapping[str, Comparator]] = {
    "===": "equals",
    "!==": "not_equal",
    "==": "equals",
    "!=": "not_equal",
    "<=": "less_than_equal",
    ">=": "greater_than_equal",
    "=": "equals",
    "<": "less_than",
    ">": "greater_than",
}
"""Longer ones first, since they begin with shorter ones."""
LOWER: Final = frozenset(("greater_than", "greater_than_equal"))
"""The comparators that give a range its beginning."""
UPPER: Final = frozenset(("less_than", "less_than_equal"))
"""The comparators that give a range its end."""
_CANONICAL: Final[tuple[Comparator, ...]] = tuple(URL_WORDS.values())
_OTHERS: Final[Mapping[str, Comparator]] = {
    "equal": "equals",
    "gte": "greater_than_equal",
    "lte": "less_than_equal",
}


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


NAMES: Final[Mapping[str, Comparator]] = {
    **{name: name for name in _CANONICAL},
    **{_camel_case(name): name for name in _CANONICAL},
    **URL_WORDS,
    **URL_SYMBOLS,
    **_OTHERS,
}
"""In query objects and in Python."""


def comparator_named(name: object) -> Comparator:
    """Return what a name in a query object stands for.

    Raises:
        InvalidQuery: It is unknown, or no name.
    """
    if not isinstance(name, str):
        raise InvalidQuery(f"a comparator is a name, not {type(name).__name__}")
    found = NAMES.get(name)
    if found is None:
        raise InvalidQuery(f"unknown comparator {name[:40]!r}{did_you_mean(name, NAMES)}")
    return found


def comparator_of_word(word: str) -> Comparator:
    """Return what a word between the ``=`` signs of a URL stands for.

    Raises:
        InvalidQuery: It is unknown.
    """
    found = URL_WORDS.get(word)
    if found is None:
        long = {name: short for short, name in URL_WORDS.items()}
        right = long.get(NAMES.get(word, "equals")) if word in NAMES else None
        hint = f"; did you mean {right}?" if right else did_you_mean(word, URL_WORDS)
        raise InvalidQuery(f"unknown comparator {word[:40]!r}{hint}; a = in a value is written %3D")
    return found
