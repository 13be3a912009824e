"""From conditions to one function of a stored record.

Compiled once a query: one partial decoder for all attributes that are touched, closures
for the comparisons. What costs least is asked first, unless an order is demanded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lyredb.tables.query.fields import Document, Touched
from lyredb.tables.query.paths import Step
from lyredb.tables.query.related import Join
from lyredb.tables.query.tree import Every, Exists, Node, Not, Test
from lyredb.tables.query.view import Row, View
from lyredb.tables.stored import StoredTable

RowTest = Callable[[bytes, bytes], bool]
"""Takes stored key and stored record."""
_Inner = Callable[[Document, bytes, bytes], bool]
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
) -> Callable[[list[Row]], list[Row]]:
    """Return what keeps the rows of a batch that match; see `compile_test`."""
    touched = Touched(table)
    inner = _compile(node, touched, joins, keep_order)
    read = touched.reader()
    return lambda rows: [row for row in rows if inner(read(row[1]), *row)]


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


def _compile_test(node: Test, touched: Touched) -> _Inner:
    leaf, matches, element = node.leaf, node.matches, node.element
    if leaf.source != "body" or leaf.rest or element is None:
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
    test = compile_test(node.inner, node.step.target, joins, keep_order=keep_order)

    def matches(doc: Document, key: bytes, stored: bytes) -> bool:
        return any(test(*row) for row in join.rows(value(doc, key, stored)))

    return matches
