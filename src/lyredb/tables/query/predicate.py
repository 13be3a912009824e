"""From conditions to one function of a stored record.

Compiled once a query: one partial decoder for all attributes that are touched, closures
for the comparisons. What costs least is asked first, unless an order is demanded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lyredb.tables.query.fields import Document, Touched
from lyredb.tables.query.paths import Step
from lyredb.tables.query.related import CACHED_VALUES, Join
from lyredb.tables.query.tree import Every, Exists, Node, Not, Test, members_of
from lyredb.tables.query.view import Row, View
from lyredb.tables.stored import StoredTable

RowTest = Callable[[bytes, bytes], bool]
"""Takes stored key and stored record."""
Filter = Callable[[list[Row]], list[Row]]
_Inner = Callable[[Document, bytes, bytes], bool]
_CONTAINING: Final = ("equals", "starts_with", "ends_with", "contains")
"""Comparators that only values fulfil in which the given text stands."""
_COSTS: Final = {"body": 0, "created": 1, "updated": 1, "key": 2, "computed": 3}


class Joins:
    """The relations that one query follows, each with one `Join`."""

    def __init__(self, view: View, building: frozenset[int]) -> None:
        self.view = view
        self.building = building
        self._joins: dict[tuple[str, str], Join] = {}

    def of(self, step: Step) -> Join:
        """Return the join of a relation."""
        name = (step.table.name, step.name)
        if name not in self._joins:
            self._joins[name] = Join(self.view, step, self.building)
        return self._joins[name]

    @property
    def all(self) -> list[Join]:
        """Those that were asked for."""
        return list(self._joins.values())


def compile_test(
    node: Node, table: StoredTable, joins: Joins, *, keep_order: bool = False
) -> RowTest:
    """Return whether a record of a table matches.

    Args:
        node: The conditions.
        table: Whose records.
        joins: Follows relations.
        keep_order: Ask in the order in which the conditions stand.
    """
    touched = Touched(table)
    inner = _compile(node, touched, joins, keep_order)
    read = touched.reader()
    return lambda key, stored: inner(read(stored), key, stored)


def compile_filter(
    node: Node, table: StoredTable, joins: Joins, *, keep_order: bool = False
) -> Filter:
    """Return what keeps the rows of a batch that match; see `compile_test`.

    What can be said of a record from its bytes is asked first, what needs related records
    last: those of all that are left are then read at once.
    """
    stages = _stages(node, table, joins, keep_order)
    needle = needle_of(node)
    if needle:
        stages.insert(0, lambda rows: [row for row in rows if needle in row[1]])
    if len(stages) == 1:
        return stages[0]

    def matching(rows: list[Row]) -> list[Row]:
        for stage in stages:
            if not rows:
                break
            rows = stage(rows)
        return rows

    return matching


def _stages(node: Node, table: StoredTable, joins: Joins, keep_order: bool) -> list[Filter]:
    members = members_of(node)
    if keep_order or not any(isinstance(one, Exists) for one in members):
        return [_by_attributes(node, table, joins, keep_order)]
    here = tuple(one for one in members if not isinstance(one, Exists))
    stages = [_by_attributes(Every(here), table, joins, keep_order)] if here else []
    for one in members:
        if isinstance(one, Exists):
            stages.append(_by_related(one, table, joins))
    return stages


def _by_attributes(node: Node, table: StoredTable, joins: Joins, keep_order: bool) -> Filter:
    touched = Touched(table)
    if isinstance(node, Test) and _is_simple(node):
        return _by_one(touched.field_of_each(node.leaf.name), node)
    inner = _compile(node, touched, joins, keep_order)
    read = touched.reader()
    return lambda rows: [row for row in rows if inner(read(row[1]), *row)]


def _by_one(values: Callable[[list[Row]], list[object]], node: Test) -> Filter:
    """The filter by one attribute of the body: the most frequent, and half of the time."""
    matches, element = node.matches, node.element
    assert element is not None, "looked at before"

    def matching(rows: list[Row]) -> list[Row]:
        return [
            row
            for row, value in zip(rows, values(rows), strict=True)
            if (matches(value) if value.__class__ is list else element(value))
        ]

    return matching


def _by_related(node: Exists, table: StoredTable, joins: Joins) -> Filter:
    touched = Touched(table)
    join = joins.of(node.step)
    value = join.here(touched)
    read = touched.reader()
    holds = _holds(node, join, joins, keep_order=False)

    def matching(rows: list[Row]) -> list[Row]:
        values = [value(read(row[1]), *row) for row in rows]
        join.fetch(values)
        return [row for row, one in zip(rows, values, strict=True) if holds(one)]

    return matching


def needle_of(node: Node | None) -> bytes:
    """Return bytes that every stored record has which matches, ``b""`` when that is not known.

    A text stands in a body as its UTF-8, whatever is around it.
    """
    found = [_needle(one) for one in members_of(node) if isinstance(one, Test)]
    return max(found, key=len, default=b"")


def _needle(test: Test) -> bytes:
    if test.leaf.source != "body" or test.leaf.may_be_opaque:
        return b""
    value = test.value if test.comparator in _CONTAINING else None
    if isinstance(value, str):
        return value.encode()
    return value if isinstance(value, bytes) else b""


def cost_of(node: Node) -> int:
    """Return about how dear it is to ask: joins are the dearest."""
    match node:
        case Test():
            return _COSTS[node.leaf.source]
        case Exists():
            return 10 + cost_of(node.inner)
        case Not():
            return cost_of(node.member)
        case _:
            return 1 + max(map(cost_of, node.members), default=0)


def _compile(node: Node, touched: Touched, joins: Joins, keep_order: bool) -> _Inner:
    match node:
        case Test():
            return _compile_test(node, touched)
        case Not():
            inner = _compile(node.member, touched, joins, keep_order)
            return lambda doc, key, stored: not inner(doc, key, stored)
        case Exists():
            return _compile_exists(node, touched, joins, keep_order)
    members = node.members if keep_order else sorted(node.members, key=cost_of)
    compiled = tuple(_compile(one, touched, joins, keep_order) for one in members)
    if isinstance(node, Every):
        return _every(compiled)
    return _either(compiled)


def _every(tests: tuple[_Inner, ...]) -> _Inner:
    if len(tests) == 2:  # without a loop: most have two
        first, second = tests
        return lambda doc, key, stored: first(doc, key, stored) and second(doc, key, stored)

    def matches(doc: Document, key: bytes, stored: bytes) -> bool:
        return all(test(doc, key, stored) for test in tests)

    return matches


def _either(tests: tuple[_Inner, ...]) -> _Inner:
    def matches(doc: Document, key: bytes, stored: bytes) -> bool:
        return any(test(doc, key, stored) for test in tests)

    return matches


def _is_simple(test: Test) -> bool:
    """It is about an attribute as it stands in the body, and its elements if it is a list."""
    leaf = test.leaf
    return leaf.source == "body" and not leaf.rest and test.element is not None


def _compile_test(node: Test, touched: Touched) -> _Inner:
    leaf, matches, element = node.leaf, node.matches, node.element
    if element is None or not _is_simple(node):
        value = touched.value(leaf)
        return lambda doc, key, stored: matches(value(doc, key, stored))
    get = touched.field(leaf.name)

    # The common case, with as few calls as it takes: 0.3 µs less a record.
    def test(doc: Document, key: bytes, stored: bytes) -> bool:
        found = get(doc)
        return matches(found) if found.__class__ is list else element(found)

    return test


def _compile_exists(node: Exists, touched: Touched, joins: Joins, keep_order: bool) -> _Inner:
    join = joins.of(node.step)
    value = join.here(touched)
    holds = _holds(node, join, joins, keep_order)
    return lambda doc, key, stored: holds(value(doc, key, stored))


def _holds(node: Exists, join: Join, joins: Joins, keep_order: bool) -> Callable[[object], bool]:
    """Whether one of the records that a value leads to matches; remembered for texts."""
    test = compile_test(node.inner, node.step.target, joins, keep_order=keep_order)
    known: dict[str, bool] = {}

    def holds(value: object) -> bool:
        if not isinstance(value, str):
            return any(test(*row) for row in join.rows(value))
        found = known.get(value)
        if found is None:
            found = any([test(*row) for row in join.rows(value)])
            if len(known) >= CACHED_VALUES:
                known.clear()
            known[value] = found
        return found

    return holds
