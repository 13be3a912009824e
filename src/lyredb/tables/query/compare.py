"""What a comparator means for one value: the tests, and the order across types.

* A list matches when one of its elements does; an empty list is a value that is equal to
  no other. A list that is looked for is compared as a whole.
* Null is equal to null only. What is absent is equal to nothing, so that ``not_equal``
  finds it.
* Ranges and the comparators of texts find values of the type of the given value only:
  numbers among numbers, dates among dates. Integers of any size are compared exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from lyredb.errors import InvalidQuery
from lyredb.storage.keys import ABSENT
from lyredb.tables.query.terms import Comparator

ValueTest = Callable[[object], bool]

_NUMBERS: Final = frozenset((int, float))
_HASHED: Final = frozenset((str, int, float, bytes, datetime))
"""Types whose values are looked up in a set; booleans are no numbers here."""
_TEXTS: Final = frozenset(("starts_with", "ends_with", "contains"))


def equal(left: object, right: object) -> bool:
    """Compare as the index does: 1 is 1.0, but true is not 1; objects by their content."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(equal(left[k], right[k]) for k in left)
    return left == right


def value_test(comparator: Comparator, wanted: object, label: str) -> ValueTest:
    """Return whether a stored value matches.

    Args:
        comparator: How.
        wanted: As `values.read_value` gives it.
        label: Of the attribute, for messages.

    Raises:
        InvalidQuery: The comparator cannot be used with such a value.
    """
    if comparator == "prefix":
        return _prefix_test(wanted, label)
    element = element_test(comparator, wanted, label)
    if element is not None:
        return _over_elements(element)
    negative = comparator == "not_equal"
    return lambda value: equal(value, wanted) is not negative


def element_test(comparator: Comparator, wanted: object, label: str) -> ValueTest | None:
    """Return whether a value that is no list matches; ``None`` when lists are compared whole.

    Raises:
        InvalidQuery: As `value_test`.
    """
    whole = isinstance(wanted, list) and comparator in ("equals", "not_equal")
    return None if whole or comparator == "prefix" else _element_test(comparator, wanted, label)


def _over_elements(test: ValueTest) -> ValueTest:
    def matches(value: object) -> bool:
        if value.__class__ is list and value:
            return any(map(test, value))
        return test(value)

    return matches


def _element_test(comparator: Comparator, wanted: object, label: str) -> ValueTest:
    match comparator:
        case "equals":
            return _equals(wanted)
        case "not_equal":
            equals = _equals(wanted)
            return lambda value: not equals(value)
        case "in":
            return _in(wanted)
        case "between":
            low, high = pair(wanted, label)
            kinds = range_kinds(low, label)
            if range_kinds(high, label) is not kinds:
                raise InvalidQuery(f"both ends for {label[:60]} must be of one type")
            return lambda value: value.__class__ in kinds and low <= value <= high
        case "starts_with" | "ends_with" | "contains":
            return _text(comparator, wanted, label)
        case _:
            return _range(comparator, wanted, label)


def _equals(wanted: object) -> ValueTest:
    if wanted is None or isinstance(wanted, bool):
        return lambda value: value is wanted
    if isinstance(wanted, (int, float)):
        return lambda value: value == wanted and value.__class__ is not bool
    if isinstance(wanted, Mapping):
        return lambda value: equal(value, wanted)
    return lambda value: value == wanted


def _in(wanted: object) -> ValueTest:
    assert isinstance(wanted, (list, tuple)), "read_value makes one"
    hashed = frozenset(one for one in wanted if one.__class__ in _HASHED)
    rest = [_equals(one) for one in wanted if one.__class__ not in _HASHED]

    def matches(value: object) -> bool:
        if value.__class__ in _HASHED:
            return value in hashed
        return any(test(value) for test in rest)

    return matches


def _range(comparator: Comparator, wanted: Any, label: str) -> ValueTest:
    kinds = range_kinds(wanted, label)
    match comparator:
        case "greater_than":
            return lambda value: value.__class__ in kinds and value > wanted
        case "greater_than_equal":
            return lambda value: value.__class__ in kinds and value >= wanted
        case "less_than":
            return lambda value: value.__class__ in kinds and value < wanted
        case _:
            return lambda value: value.__class__ in kinds and value <= wanted


_KINDS: Final[Mapping[type, frozenset[type]]] = {
    bool: frozenset((bool,)),
    int: _NUMBERS,
    float: _NUMBERS,
    str: frozenset((str,)),
    bytes: frozenset((bytes,)),
    datetime: frozenset((datetime,)),
}


def range_kinds(wanted: object, label: str) -> frozenset[type]:
    """Return the types whose values are compared with a value.

    Raises:
        InvalidQuery: It has no order.
    """
    kinds = _KINDS.get(wanted.__class__)
    if kinds is None:
        what = "null" if wanted is None else "a list or an object"
        raise InvalidQuery(
            f"{what} is neither greater nor less than anything, so {label[:60]} cannot be compared "
            "with it; use equals or not_equal"
        )
    return kinds


def pair(wanted: object, label: str) -> tuple[Any, Any]:
    """Return both ends of ``between``.

    Raises:
        InvalidQuery: There are not two.
    """
    if not isinstance(wanted, (list, tuple)) or len(wanted) != 2:
        raise InvalidQuery(f"between needs the least and the greatest value of {label[:60]}")
    return wanted[0], wanted[1]


def _text(comparator: Comparator, wanted: Any, label: str) -> ValueTest:
    kind = wanted.__class__
    if kind not in (str, bytes):
        raise InvalidQuery(
            f"{comparator} compares text, so {label[:60]} needs text to compare with"
        )
    match comparator:
        case "starts_with":
            return lambda value: value.__class__ is kind and value.startswith(wanted)  # type: ignore[attr-defined]  # text
        case "ends_with":
            return lambda value: value.__class__ is kind and value.endswith(wanted)  # type: ignore[attr-defined]  # text
        case _:
            return lambda value: value.__class__ is kind and wanted in value  # type: ignore[operator]


def _prefix_test(wanted: object, label: str) -> ValueTest:
    first = wanted if isinstance(wanted, (list, tuple)) else [wanted]
    size = len(first)
    if not size:
        raise InvalidQuery(f"prefix needs the first elements of {label[:60]}")

    def matches(value: object) -> bool:
        return isinstance(value, (list, tuple)) and equal(list(value[:size]), list(first))

    return matches


def smallest(value: object, encode: Callable[[object], bytes], *, largest: bool) -> bytes:
    """Return the bytes by which a value is ordered: a list stands where an element of it does.

    Args:
        value: `ABSENT` where there is none.
        encode: `keys.encode_ordered`.
        largest: The greatest element counts, as it does in a descending order.
    """
    if isinstance(value, (list, tuple)) and value:
        encoded = [encode(element) for element in value]
        return max(encoded) if largest else min(encoded)
    return encode(value)


def at_path(value: object, path: Sequence[str]) -> object:
    """Return what stands at a path inside objects; of a list of them, the list of what each has."""
    for number, name in enumerate(path):
        if isinstance(value, Mapping):
            value = value.get(name, ABSENT)
        elif isinstance(value, list):
            inner = [at_path(element, path[number:]) for element in value]
            return _flat([one for one in inner if one is not ABSENT])
        else:
            return ABSENT
    return value


def _flat(values: list[object]) -> object:
    """One list of what was found in the elements of a list; `ABSENT` when nothing was."""
    flat: list[object] = []
    for value in values:
        flat += value if isinstance(value, list) else [value]
    return flat or ABSENT
