"""Queries as objects (``docs/queries.md``), and the forms of conditions that Python takes.

``{"conditions": [{"attribute": "value", "comparator": "gt", "value": 30}], "limit": 10}``
comes as JSON over HTTP, or from code. Values are plain; they are read by the declared types
when the query is planned. A name with dots is a path; a list of names is one too, and takes
each name as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias, cast

from lyredb.errors import InvalidQuery
from lyredb.tables.hints import did_you_mean
from lyredb.tables.query.bounds import BOUNDS, QueryBounds, Tally
from lyredb.tables.query.comparators import comparator_named
from lyredb.tables.query.selecting import select_of
from lyredb.tables.query.terms import (
    Comparator,
    Condition,
    Group,
    Query,
    Select,
    Selected,
    SortKey,
    Where,
)

WhereLike: TypeAlias = Where | Mapping[str, object] | Sequence[object]
"""``Sensor.value > 3``, ``{"attribute": "value", "comparator": "gt", "value": 3}``,
``("value", 3)``, ``("value", "greater_than", 3)``, or a list of these that must all hold."""
SelectLike: TypeAlias = str | Mapping[str, object] | Sequence[object] | Selected | Select
"""``"value"`` for bare values, ``["value", {"name": "brand", "select": ["name"]}]`` for
objects, ``[["value", "site"]]`` for arrays."""
SortLike: TypeAlias = str | SortKey | Mapping[str, object] | Sequence[object]
"""``"value"``, ``{"attribute": "value", "descending": True, "next": …}``, or a list."""

_KEYS: Final[Mapping[str, str]] = {
    "conditions": "conditions",
    "operator": "operator",
    "select": "select",
    "get_attributes": "select",
    "sort": "sort",
    "limit": "limit",
    "offset": "offset",
    "explain": "explain",
    "enforce_execution_order": "enforce_order",
    "enforceExecutionOrder": "enforce_order",
    "allow_full_scan": "allow_full_scan",
    "allowFullScan": "allow_full_scan",
}
_CONDITION_KEYS: Final[Mapping[str, str]] = {
    "attribute": "attribute",
    "search_attribute": "attribute",
    "comparator": "comparator",
    "search_type": "comparator",
    "value": "value",
    "search_value": "value",
}
_GROUP_KEYS: Final[Mapping[str, str]] = {"operator": "operator", "conditions": "conditions"}
_SORT_KEYS: Final[Mapping[str, str]] = {
    "attribute": "attribute",
    "descending": "descending",
    "next": "next",
}
_SELECT_KEYS: Final[Mapping[str, str]] = {"name": "name", "select": "select"}


def read_query(value: object, bounds: QueryBounds = BOUNDS) -> Query:
    """Return the query that an object means; a list means its conditions.

    Args:
        value: As decoded from JSON, or made in code.
        bounds: How large it may be.

    Raises:
        InvalidQuery: It makes no sense, or is larger.
    """
    if isinstance(value, (list, tuple)):
        return Query(read_where(value, bounds))
    given = _fields(value, _KEYS, "a query")
    return Query(
        where=_group(given, Tally(bounds), 0) if given.get("conditions") is not None else None,
        sort=read_sort(given.get("sort"), bounds),
        limit=None if given.get("limit") is None else count_of("limit", given["limit"]),
        offset=count_of("offset", given.get("offset") or 0),
        select=read_select(given.get("select"), bounds),
        explain=_flag(given, "explain", default=False),
        enforce_order=_flag(given, "enforce_order", default=False),
        allow_full_scan=_flag(given, "allow_full_scan", default=True),
    )


def read_where(given: object, bounds: QueryBounds = BOUNDS) -> Where | None:
    """Return what a `WhereLike` means, ``None`` for ``None`` and for no condition.

    Raises:
        InvalidQuery: It is none, or is larger than the bounds.
    """
    return None if given is None else _where(given, Tally(bounds), 0)


def read_sort(given: object, bounds: QueryBounds = BOUNDS) -> tuple[SortKey, ...]:
    """Return the order that a `SortLike` means; ``None`` is none.

    Raises:
        InvalidQuery: It is none, or has more keys than the bounds allow.
    """
    keys: list[SortKey] = []
    waiting = list(given) if isinstance(given, (list, tuple)) else [given]
    tally = Tally(bounds)
    tally.sort_keys(len(waiting))
    for one in waiting:
        while one is not None:
            key, one = _sort_key(one)
            keys.append(key)
            tally.sort_keys(len(keys))
    return tuple(keys)


def read_select(given: object, bounds: QueryBounds = BOUNDS) -> Select | None:
    """Return what a `SelectLike` means, ``None`` for ``None``.

    Raises:
        InvalidQuery: It is none, or is larger than the bounds.
    """
    return None if given is None else _select(given, Tally(bounds), 1)


def count_of(name: str, value: object) -> int:
    """Return a number of records.

    Raises:
        InvalidQuery: It is no integer from 0 up.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidQuery(f"{name} must be an integer from 0 up, got {_shown(value)}")
    return value


def path_of(attribute: object) -> tuple[str, ...]:
    """Return the path that ``"brand.name"`` or ``["brand", "name"]`` means.

    Raises:
        InvalidQuery: It is neither, or a name is empty.
    """
    names: Iterable[object] = ()
    if isinstance(attribute, str):
        names = attribute.split(".")
    elif isinstance(attribute, (list, tuple)):
        names = attribute
    path = tuple(name for name in names if isinstance(name, str) and name)
    if not path or len(path) != len(tuple(names)):
        raise InvalidQuery("a condition or sort needs the name of an attribute, or a list of names")
    return path


def _where(given: object, tally: Tally, depth: int) -> Where | None:
    tally.nesting(depth)
    match given:
        case Condition():
            return _condition(given.path, given.comparator, given.value, tally, given.owner)
        case Group():
            return _group({"operator": given.operator, "conditions": given.members}, tally, depth)
        case Mapping() if "conditions" in given:
            return _group(_fields(given, _GROUP_KEYS, "a group"), tally, depth)
        case Mapping():
            return _from_mapping(given, tally)
        case (str(), *_) if isinstance(given, tuple):
            return _from_tuple(given, tally)
        case str() | bytes():
            pass
        case Iterable():
            return _group({"conditions": given}, tally, depth)
    raise InvalidQuery(
        "a condition is an object with attribute, comparator and value, `Table.attribute > value` "
        f"or a tuple (attribute, value), not {_shown(given)}"
    )


def _group(given: Mapping[str, object], tally: Tally, depth: int) -> Where | None:
    operator = _operator(given.get("operator"))
    conditions = given["conditions"]
    if isinstance(conditions, (str, bytes, Mapping)) or not isinstance(conditions, Iterable):
        raise InvalidQuery(f"conditions is a list, not {_shown(conditions)}")
    found = (_where(one, tally, depth + 1) for one in conditions)
    members = tuple(one for one in found if one is not None)
    if operator == "not":
        return _negated(members)
    if len(members) > 1:
        return Group(operator, members)
    return members[0] if members else None


def _negated(members: tuple[Where, ...]) -> Group:
    """Not all of them; the members of a ``not`` are joined by ``and``."""
    if not members:
        raise InvalidQuery("a group with the operator not needs a condition")
    return Group("not", members if len(members) == 1 else (Group("and", members),))


def _operator(given: object) -> Literal["and", "or", "not"]:
    match given.lower() if isinstance(given, str) else given:
        case None | "and":
            return "and"
        case "or":
            return "or"
        case "not":
            return "not"
    raise InvalidQuery(f"operator is and, or or not; got {_shown(given)}")


def _from_mapping(given: Mapping[Any, object], tally: Tally) -> Condition:
    fields = _fields(given, _CONDITION_KEYS, "a condition")
    path = path_of(fields.get("attribute"))
    if "value" not in fields:
        raise InvalidQuery(f"the condition on {'.'.join(path)[:60]} needs a value")
    comparator = fields.get("comparator")
    return _condition(path, "equals" if comparator is None else comparator, fields["value"], tally)


def _from_tuple(given: tuple[object, ...], tally: Tally) -> Condition:
    match given:
        case (attribute, value):
            return _condition(path_of(attribute), "equals", value, tally)
        case (attribute, comparator, value):
            return _condition(path_of(attribute), comparator, value, tally)
    raise InvalidQuery("a condition is (attribute, value) or (attribute, comparator, value)")


def _condition(
    path: object, comparator: object, value: object, tally: Tally, owner: type[Any] | None = None
) -> Condition:
    tally.condition()
    named = comparator_named(comparator)
    return Condition(path_of(path), named, _value(named, value, tally), owner)


def _value(comparator: Comparator, value: object, tally: Tally) -> object:
    """Return the value, those of comparators that take several as a tuple."""
    if comparator not in ("between", "in", "prefix"):
        return value
    if isinstance(value, (set, frozenset, range)):
        value = list(value)
    if not isinstance(value, (list, tuple)):
        raise InvalidQuery(f"{comparator} takes a list of values, not {_shown(value)}")
    tally.values(len(value))
    if comparator == "between" and len(value) != 2:
        raise InvalidQuery("between takes two values, the lower and the upper end")
    return tuple(value)


def _sort_key(given: object) -> tuple[SortKey, object]:
    """Return one key and what comes next."""
    match given:
        case SortKey():
            return SortKey(path_of(given.path), given.descending), None
        case str():
            return SortKey(path_of(given)), None
        case Mapping():
            fields = _fields(given, _SORT_KEYS, "a sort")
            descending = _flag(fields, "descending", default=False)
            return SortKey(path_of(fields.get("attribute")), descending), fields.get("next")
    raise InvalidQuery(
        f"sort is {{attribute, descending, next}} or the name of an attribute, not {_shown(given)}"
    )


def _select(given: object, tally: Tally, depth: int) -> Select:
    tally.nesting(depth)
    match given:
        case Select():
            return select_of((_selected(one, tally, depth) for one in given.items), given.form)
        case str() | Selected() | Mapping():
            return select_of((_selected(given, tally, depth),), "values")
        case [list() | tuple() as places] if isinstance(given, (list, tuple)):
            return select_of((_selected(one, tally, depth) for one in places), "arrays")
        case list() | tuple():
            return select_of((_selected(one, tally, depth) for one in given), "objects")
    raise InvalidQuery(f"select is a name or a list of names, not {_shown(given)}")


def _selected(given: object, tally: Tally, depth: int) -> Selected:
    tally.selected()
    match given:
        case str() if "." in given:
            relation, _, rest = given.partition(".")
            raise InvalidQuery(
                f"{given[:60]!r} in select is no name; write "
                f'{{"name": "{relation[:30]}", "select": ["{rest[:30]}"]}}'
            )
        case str():
            return Selected(given)
        case Selected():
            fields: Mapping[str, object] = {"name": given.name, "select": given.select}
        case Mapping():
            fields = _fields(given, _SELECT_KEYS, "a select")
        case _:
            raise InvalidQuery(f"select takes names or {{name, select}}, not {_shown(given)}")
    name, inner = fields.get("name"), fields.get("select")
    if not isinstance(name, str):
        raise InvalidQuery("an object in select needs the name of an attribute")
    return Selected(name, None if inner is None else _select(inner, tally, depth + 1))


def _fields(given: object, known: Mapping[str, str], what: str) -> dict[str, object]:
    """Return the values under their one name, whatever spelling they came in."""
    if not isinstance(given, Mapping):
        raise InvalidQuery(f"{what} is an object, not {_shown(given)}")
    fields: dict[str, object] = {}
    for key, value in cast("Mapping[object, object]", given).items():
        name = known.get(key) if isinstance(key, str) else None
        if name is None:
            hint = did_you_mean(key[:40], known) if isinstance(key, str) else ""
            raise InvalidQuery(f"unknown key {_shown(key)} in {what}{hint}")
        if name in fields:
            raise InvalidQuery(f"{what} has {name} twice, under two spellings")
        fields[name] = value
    return fields


def _flag(given: Mapping[str, object], name: str, *, default: bool) -> bool:
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InvalidQuery(f"{name} is true or false, not {_shown(value)}")
    return value


def _shown(value: object) -> str:
    """Return a value as an error shows it: scalars as they are, others by their type."""
    if isinstance(value, str):
        return repr(value[:40])
    if isinstance(value, float) or (isinstance(value, int) and value.bit_length() < 128):
        return repr(value)
    return f"a value of type {type(value).__name__}"
