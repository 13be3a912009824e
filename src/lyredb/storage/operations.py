"""The operators, functions and methods of expressions, each bounded in what it makes.

They do what Python's do and raise what Python's raise; beyond the bounds they raise
`OverflowError`. Lists are not repeated and text is only made of single values, so that
nothing grows faster than the expression is long.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

MAX_SIZE: Final = 65_536
"""Characters or elements of what one operation makes."""
MAX_BITS: Final = 1023
"""Of an integer: below it, it is within the range of a double, as records need it."""

Operation = Callable[..., object]


def _sized(value: object) -> object:
    """Refuse what is too big."""
    if isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise OverflowError("the integer is too big")
    elif isinstance(value, (str, bytes, list)) and len(value) > MAX_SIZE:
        raise OverflowError("the result is too long")
    return value


def _number(value: object) -> float:
    if isinstance(value, (int, float)):
        return value
    raise TypeError("not a number")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError("not a string")


def _add(left: Any, right: Any) -> object:
    if type(left) is float or type(right) is float:  # with one of them nothing can grow
        return left + right
    if isinstance(left, (str, list, bytes)) and isinstance(right, (str, list, bytes)):
        _require_room(len(left) + len(right))
        return left + right  # type: ignore[operator]  # a mixture raises TypeError
    return _sized(_number(left) + _number(right))


def _subtract(left: Any, right: Any) -> object:
    if type(left) is float or type(right) is float:
        return left - right
    if isinstance(left, datetime) and isinstance(right, datetime):
        return (left - right).total_seconds()
    return _sized(_number(left) - _number(right))


def _multiply(left: Any, right: Any) -> object:
    if type(left) is float or type(right) is float:
        return left * right
    if isinstance(left, int) and isinstance(right, str):
        left, right = right, left
    if isinstance(left, str) and isinstance(right, int):
        _require_room(len(left) * max(right, 0))
        return left * right
    return _sized(_number(left) * _number(right))


def _power(base: object, exponent: object) -> object:
    base, exponent = _number(base), _number(exponent)
    are_integers = isinstance(base, int) and isinstance(exponent, int)
    # The result has at least (bits - 1) × exponent bits: it is not even worked out.
    if are_integers and (int(base).bit_length() - 1) * exponent > MAX_BITS:
        raise OverflowError("the integer is too big")
    result: object = base**exponent
    if isinstance(result, complex):
        raise ValueError("no real number")
    return _sized(result)


def _require_room(size: int) -> None:
    if size > MAX_SIZE:
        raise OverflowError("the result is too long")


def joined(values: list[object]) -> str:
    """Return the text of an f-string's parts."""
    parts = [_string(value) for value in values]
    _require_room(sum(map(len, parts)))
    return "".join(parts)


def _string(value: object = "") -> str:
    """The text of one value; lists and objects could hold one part many times."""
    if value is None or isinstance(value, (str, int, float)):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError("no text for this value")


def _integer(value: object = 0) -> object:
    return _sized(int(value if isinstance(value, str) else _number(value)))


def _float(value: object = 0.0) -> object:
    return float(value if isinstance(value, str) else _number(value))


def _round(value: object, digits: object = None) -> object:
    number = _number(value)
    if digits is None:
        return _sized(round(number))
    if not isinstance(digits, int) or not -400 <= digits <= 400:
        raise ValueError("digits out of range")  # an integer would be divided by their power
    return _sized(round(number, digits))


def _length(value: object) -> int:
    return len(value)  # type: ignore[arg-type]  # raises TypeError


def _sum(values: object) -> object:
    if not isinstance(values, (list, dict, str, bytes)):
        raise TypeError("nothing to sum")
    return _sized(sum(_number(value) for value in values))


def _replace(text: object, old: object, new: object) -> str:
    text, old, new = _text(text), _text(old), _text(new)
    _require_room(len(text) + text.count(old) * max(len(new) - len(old), 0))
    return text.replace(old, new)


def _join(separator: object, parts: object) -> str:
    separator = _text(separator)
    if not isinstance(parts, list):
        raise TypeError("not a list")
    texts = [_text(part) for part in parts]
    _require_room(sum(map(len, texts)) + len(separator) * max(len(texts) - 1, 0))
    return separator.join(texts)


def _padded(method: Callable[..., str]) -> Operation:
    def pad(text: object, width: object, *fill: object) -> str:
        if not isinstance(width, int):
            raise TypeError("not a width")
        _require_room(width)
        return method(_text(text), width, *fill)

    return pad


def _method(method: Callable[..., object]) -> Operation:
    return lambda text, *arguments: _sized(method(_text(text), *arguments))


def _starts(text: object, start: object) -> bool:
    return _text(text).startswith(_text(start))


def _ends(text: object, end: object) -> bool:
    return _text(text).endswith(_text(end))


def _contains(item: object, container: Any) -> bool:
    return item in container


def _lacks(item: object, container: Any) -> bool:
    return item not in container


UNARY: Final[Mapping[type[ast.unaryop], Operation]] = {
    ast.UAdd: lambda value: +_number(value),
    ast.USub: lambda value: -_number(value),
    ast.Not: operator.not_,
}
ARITHMETIC: Final[Mapping[type[ast.operator], Operation]] = {
    ast.Add: _add,
    ast.Sub: _subtract,
    ast.Mult: _multiply,
    ast.Div: lambda left, right: _number(left) / _number(right),
    ast.FloorDiv: lambda left, right: _sized(_number(left) // _number(right)),
    ast.Mod: lambda left, right: _sized(_number(left) % _number(right)),
    ast.Pow: _power,
}
COMPARISONS: Final[Mapping[type[ast.cmpop], Operation]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: _contains,
    ast.NotIn: _lacks,
}
FUNCTIONS: Final[Mapping[str, Operation]] = {
    "len": _length,
    "min": min,
    "max": max,
    "sum": _sum,
    "round": _round,
    "abs": lambda value: abs(_number(value)),
    "str": _string,
    "int": _integer,
    "float": _float,
    "bool": bool,
}
METHODS: Final[Mapping[str, Operation]] = {
    "lower": _method(str.lower),
    "upper": _method(str.upper),
    "casefold": _method(str.casefold),
    "capitalize": _method(str.capitalize),
    "title": _method(str.title),
    "strip": _method(str.strip),
    "lstrip": _method(str.lstrip),
    "rstrip": _method(str.rstrip),
    "removeprefix": _method(str.removeprefix),
    "removesuffix": _method(str.removesuffix),
    "startswith": _starts,
    "endswith": _ends,
    "find": _method(str.find),
    "count": _method(str.count),
    "isdigit": _method(str.isdigit),
    "isalpha": _method(str.isalpha),
    "split": _method(str.split),
    "join": _join,
    "replace": _replace,
    "zfill": _padded(str.zfill),
    "ljust": _padded(str.ljust),
    "rjust": _padded(str.rjust),
}
