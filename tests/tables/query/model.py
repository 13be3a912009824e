"""What queries mean, written from the conventions: slow, and without the engine's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cmp_to_key
from typing import Any

from lyredb.tables.query.terms import Condition, Group, SortKey, Where

MISSING = object()
Record = Mapping[str, Any]
Tables = Mapping[str, Mapping[Any, Record]]
"""By name: records, with their key as ``id``, by key."""
RELATIONS: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("Product", "brand"): ("Brand", "brandId", "id"),
    ("Product", "makers"): ("Brand", "makerIds", "id"),
    ("Brand", "products"): ("Product", "id", "brandId"),
    ("Brand", "parent"): ("Brand", "parentId", "id"),
    ("Product", "same"): ("Product", "count", "count"),
}
"""Table and virtual attribute: related table, attribute here, attribute there."""


def kind(value: object) -> int:
    """The place of a type in the order across types."""
    if value is MISSING:
        return 0
    if value is None:
        return 1
    if isinstance(value, bool):
        return 2
    if isinstance(value, (int, float)):
        return 3
    if isinstance(value, datetime):
        return 4
    if isinstance(value, str):
        return 5
    return 6 if isinstance(value, bytes) else 7


def compare(left: Any, right: Any) -> int:
    """Order two values, across types."""
    if kind(left) != kind(right):
        return -1 if kind(left) < kind(right) else 1
    if left is MISSING or left is None or left == right:
        return 0
    if isinstance(left, list):
        for one, other in zip(left, right, strict=False):
            if found := compare(one, other):
                return found
        return (len(left) > len(right)) - (len(left) < len(right))
    return -1 if left < right else 1


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are one."""
    return kind(left) == kind(right) and compare(left, right) == 0


def element_matches(value: Any, comparator: str, wanted: Any) -> bool:
    """One value against one condition."""
    order = kind(value) == kind(wanted) and kind(value) > 1
    match comparator:
        case "equals":
            return value is not MISSING and same(value, wanted)
        case "not_equal":
            return value is MISSING or not same(value, wanted)
        case "greater_than":
            return order and compare(value, wanted) > 0
        case "greater_than_equal":
            return order and compare(value, wanted) >= 0
        case "less_than":
            return order and compare(value, wanted) < 0
        case "less_than_equal":
            return order and compare(value, wanted) <= 0
        case "between":
            low, high = wanted
            return (
                kind(value) == kind(low) and compare(value, low) >= 0 and compare(value, high) <= 0
            )
        case "in":
            return value is not MISSING and any(same(value, one) for one in wanted)
        case "starts_with":
            return isinstance(value, str) and value[: len(wanted)] == wanted
        case "ends_with":
            return isinstance(value, str) and value[len(value) - len(wanted) :] == wanted
        case "contains":
            return isinstance(value, str) and value.find(wanted) >= 0
    raise AssertionError(comparator)


def values_of(value: Any) -> list[Any]:
    """What of a value may match: the elements of a list, or the value."""
    return list(value) if isinstance(value, list) and value else [value]


def at(record: Record, path: Sequence[str]) -> Any:
    """The value at a path into objects."""
    value: Any = record
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return MISSING
        value = value[name]
    return value


def related(tables: Tables, table: str, name: str, record: Record) -> list[Record]:
    """The records that belong to a record."""
    target, here, there = RELATIONS[table, name]
    found: list[Record] = []
    for value in values_of(at(record, (here,))):
        if value is MISSING or value is None:
            continue
        for one in sorted(tables[target].values(), key=lambda each: each["id"]):
            if one not in found and any(same(value, each) for each in values_of(at(one, (there,)))):
                found.append(one)
    return found


def holds(tables: Tables, table: str, record: Record, where: Where | None) -> bool:
    """Tell whether a record fulfils conditions."""
    if where is None:
        return True
    name = about(table, where)
    if name:
        target = RELATIONS[table, name][0]
        found = related(tables, table, name, record)
        return any(holds(tables, target, one, inside(where)) for one in found)
    if isinstance(where, Condition):
        values = values_of(at(record, where.path))
        return any(element_matches(one, where.comparator, where.value) for one in values)
    if where.operator == "not":
        return not holds(tables, table, record, where.members[0])
    if where.operator == "or":
        return any(holds(tables, table, record, one) for one in where.members)
    return all_hold(tables, table, record, where)


def about(table: str, where: Where) -> str:
    """The relation that all of it goes through; what negates is about the record."""
    if isinstance(where, Condition):
        return where.path[0] if (table, where.path[0]) in RELATIONS else ""
    if where.operator == "not":
        return ""
    names = {about(table, one) for one in where.members}
    return names.pop() if len(names) == 1 else ""


def inside(where: Where) -> Where:
    """The same, said of the related record."""
    if isinstance(where, Condition):
        return Condition(where.path[1:], where.comparator, where.value)
    return Group(where.operator, tuple(map(inside, where.members)))


def flat(group: Group) -> list[Where]:
    """The members of an AND, and those of ANDs among them."""
    found: list[Where] = []
    for member in group.members:
        is_and = isinstance(member, Group) and member.operator == "and"
        found += flat(member) if is_and and isinstance(member, Group) else [member]
    return found


def all_hold(tables: Tables, table: str, record: Record, group: Group) -> bool:
    """An AND: what is about one relation is about one related record."""
    together: dict[str, list[Where]] = {}
    for member in flat(group):
        name = about(table, member)
        if name:
            together.setdefault(name, []).append(member)
        elif not holds(tables, table, record, member):
            return False
    return all(
        holds(tables, table, record, Group("and", tuple(members))) for members in together.values()
    )


def place(tables: Tables, table: str, record: Record, key: SortKey) -> Any:
    """The value by which a record is ordered."""
    values: list[Any] = []
    if (table, key.path[0]) in RELATIONS:
        target = RELATIONS[table, key.path[0]][0]
        inner = SortKey(key.path[1:], key.descending)
        for one in related(tables, table, key.path[0], record):
            values.append(place(tables, target, one, inner))
    else:
        values = values_of(at(record, key.path))
    values.sort(key=cmp_to_key(compare), reverse=key.descending)
    return values[0] if values else MISSING


def ordered(
    tables: Tables, table: str, records: Sequence[Record], sort: Sequence[SortKey]
) -> list[Record]:
    """Records in an order; equal ones by key."""
    found = sorted(records, key=lambda record: record["id"])
    for key in reversed(sort):
        places = {one["id"]: place(tables, table, one, key) for one in found}

        def order(left: Record, right: Record, at: Mapping[Any, Any] = places) -> int:
            return compare(at[left["id"]], at[right["id"]])

        found.sort(key=cmp_to_key(order), reverse=key.descending)
    return found
