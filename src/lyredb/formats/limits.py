"""What a decoded value may be, whatever the format it came in."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from lyredb.errors import InvalidBody, NestingTooDeep

MAX_DEPTH: Final = 64
"""Levels of lists and objects, the outermost being the first. Every format and the store
keep to the same limit, so that what came in can always go out."""


def check_value(value: object, depth: int = 1) -> None:
    """Refuse what a record cannot hold: too deep, not finite, of a foreign type.

    Raises:
        NestingTooDeep: More than `MAX_DEPTH` levels.
        InvalidBody: A number that is not finite, a name that is no string, a date
            without time zone, or a type that records do not have.
    """
    if isinstance(value, dict):
        _check_depth(depth)
        for name, item in value.items():
            if type(name) is not str:
                raise InvalidBody("names in objects must be strings")
            check_value(item, depth + 1)
    elif isinstance(value, list):
        _check_depth(depth)
        for item in value:
            check_value(item, depth + 1)
    else:
        _check_leaf(value)


def check_depth(value: object, depth: int = 1) -> None:
    """Refuse a value with more than `MAX_DEPTH` levels, whatever its leaves are.

    Raises:
        NestingTooDeep: It has more.
    """
    if isinstance(value, dict):
        _check_depth(depth)
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


def _check_leaf(value: object) -> None:
    if value is None or isinstance(value, (str, bool, int, bytes)):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidBody("numbers must be finite")
    elif isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidBody("a date must have a time zone")
    else:
        raise InvalidBody(f"values of type {type(value).__name__} are not supported")
