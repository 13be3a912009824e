"""What a decoded value may be, whatever the format it came in."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from lyredb.errors import InvalidBody, NestingTooDeep

MAX_DEPTH: Final = 64
"""Levels of lists and objects, the outermost being the first. Every format and the store
keep to the same limit, so that what came in can always go out."""


MAX_KEYS: Final = 10_000
"""Names in one object: more is a table, and each attribute that was ever seen costs its
readers something."""
MAX_INTEGER_BITS: Final = 1_024
"""As many as a double has room for: indexes order integers among doubles, and turning
larger ones into text takes time with the square of their length."""
_TOO_LARGE: Final = 1 << MAX_INTEGER_BITS


def check_value(value: object, depth: int = 1) -> None:
    """Refuse what a record cannot hold: too deep, not finite, of a foreign type.

    Raises:
        NestingTooDeep: More than `MAX_DEPTH` levels.
        InvalidBody: A number that is not finite or too large, a name that is no string,
            more than `MAX_KEYS` of them, a date without time zone, or a type that records
            do not have.
    """
    if isinstance(value, dict):
        _check_depth(depth)
        _check_keys(value)
        for name in value:
            if type(name) is not str:
                raise InvalidBody("names in objects must be strings")
        _check_items(value.values(), depth)
    elif isinstance(value, list):
        _check_depth(depth)
        _check_items(value, depth)
    else:
        _check_leaf(value)


def _check_items(items: Iterable[object], depth: int) -> None:
    for item in items:
        # Most are strings; a call for each costs three times as much as all the rest.
        if type(item) is not str and item is not None:
            check_value(item, depth + 1)


def check_depth(value: object, depth: int = 1) -> None:
    """Refuse a value with too many levels or names, whatever its leaves are.

    Raises:
        NestingTooDeep: It has more than `MAX_DEPTH` levels.
        InvalidBody: An object has more than `MAX_KEYS` names.
    """
    if isinstance(value, dict):
        _check_depth(depth)
        _check_keys(value)
        for item in value.values():
            check_depth(item, depth + 1)
    elif isinstance(value, list):
        _check_depth(depth)
        for item in value:
            check_depth(item, depth + 1)


def too_deep() -> NestingTooDeep:
    """Return the error for a value with more than `MAX_DEPTH` levels."""
    return NestingTooDeep(f"values may be nested at most {MAX_DEPTH} deep")


def _check_depth(depth: int) -> None:
    if depth > MAX_DEPTH:
        raise too_deep()


def _check_keys(value: dict[Any, object]) -> None:
    if len(value) > MAX_KEYS:
        raise InvalidBody(f"an object has at most {MAX_KEYS} names")


def _check_leaf(value: object) -> None:
    if value is None or isinstance(value, (str, bytes)):
        return
    if isinstance(value, int):
        if not -_TOO_LARGE < value < _TOO_LARGE:
            raise InvalidBody(f"integers have at most {MAX_INTEGER_BITS} bits")
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidBody("numbers must be finite")
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidBody("a date must have a time zone")
    else:
        raise InvalidBody(f"values of type {type(value).__name__} are not supported")
