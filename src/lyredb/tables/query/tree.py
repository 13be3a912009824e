"""Conditions against the tables that they speak of: names resolved, values read.

Conditions of one AND that go through the same relation are about the same related record,
so they become one `Exists`: products that cost less than 5 and are red, not products of
which one costs less than 5 and another is red.

Nobody changes a node; it is not frozen because a frozen one takes ten times as long to make,
and each query makes its own. So it is with plans.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeAlias

from lyredb.errors import InvalidKey
from lyredb.storage.keys import KeyValue
from lyredb.tables.query.compare import ValueTest, element_test, value_test
from lyredb.tables.query.paths import Leaf, Names, Step
from lyredb.tables.query.terms import Comparator, Condition, Group, Where
from lyredb.tables.query.values import read_value
from lyredb.tables.stored import StoredTable


@dataclass(slots=True, eq=False)
class Test:
    """One attribute compared with one value.

    Attributes:
        leaf: The attribute.
        comparator: How.
        value: With what, as stored values are; keys of the table when it is about its key.
        matches: Whether a stored value does.
        element: The same for a value that is no list, when there is a shorter way.
    """

    leaf: Leaf
    comparator: Comparator
    value: object
    matches: ValueTest
    element: ValueTest | None = None

    def __str__(self) -> str:
        return f"{self.leaf.label} {self.comparator}"


@dataclass(slots=True, eq=False)
class Exists:
    """There is a related record for which something holds."""

    step: Step
    inner: Node

    def __str__(self) -> str:
        return f"{self.step.name}.({self.inner})"


@dataclass(slots=True, eq=False)
class Every:
    """All hold (``and``)."""

    members: tuple[Node, ...]

    def __str__(self) -> str:
        return "(" + " and ".join(map(str, self.members)) + ")"


@dataclass(slots=True, eq=False)
class Either:
    """One at least holds (``or``)."""

    members: tuple[Node, ...]

    def __str__(self) -> str:
        return "(" + " or ".join(map(str, self.members)) + ")"


@dataclass(slots=True, eq=False)
class Not:
    """It does not hold."""

    member: Node

    def __str__(self) -> str:
        return f"not {self.member}"


Node: TypeAlias = Test | Exists | Every | Either | Not


def tree_of(where: Where | None, table: StoredTable, names: Names) -> Node | None:
    """Return conditions as the table understands them.

    Raises:
        InvalidQuery, UnknownAttribute, NotAuthorised, QueryTooCostly: It cannot.
    """
    return None if where is None else _node(where, table, names, 0)


def members_of(node: Node | None) -> tuple[Node, ...]:
    """Return what must all hold."""
    if node is None:
        return ()
    return node.members if isinstance(node, Every) else (node,)


def has_relation(node: Node) -> bool:
    """Tell whether records of another table decide."""
    match node:
        case Test():
            return False
        case Exists():
            return True
        case Not():
            return has_relation(node.member)
    return any(map(has_relation, node.members))


def _node(where: Where, table: StoredTable, names: Names, depth: int) -> Node:
    relation = _relation_of(where, table, names, depth)
    if relation is not None:
        inner = _node(_stripped(where), relation.target, names, depth + 1)
        return Exists(relation, inner)
    if isinstance(where, Condition):
        return _test(where, table, names)
    if where.operator == "not":
        return Not(_node(where.members[0], table, names, depth))
    if where.operator == "or":
        return _joined(Either, [_node(one, table, names, depth) for one in where.members])
    groups = list(_by_relation(where, table, names, depth))
    return _joined(Every, [_node(one, table, names, depth) for one in groups])


def _joined(kind: type[Every] | type[Either], nodes: list[Node]) -> Node:
    flat: list[Node] = []
    for node in nodes:
        flat += node.members if isinstance(node, kind) else (node,)
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def _by_relation(group: Group, table: StoredTable, names: Names, depth: int) -> Iterator[Where]:
    """The members of an AND, with those about one relation together where the first stands."""
    about: dict[str, list[Where]] = {}
    order: list[Where | str] = []
    for member in _flat(group):
        step = _relation_of(member, table, names, depth)
        if step is None:
            order.append(member)
        elif step.name in about:
            about[step.name].append(member)
        else:
            about[step.name] = [member]
            order.append(step.name)
    for one in order:
        if isinstance(one, str):
            together = about[one]
            yield together[0] if len(together) == 1 else Group("and", tuple(together))
        else:
            yield one


def _flat(group: Group) -> Iterator[Where]:
    for member in group.members:
        if isinstance(member, Group) and member.operator == "and":
            yield from _flat(member)
        else:
            yield member


def _relation_of(where: Where, table: StoredTable, names: Names, depth: int) -> Step | None:
    """The relation that all of it is about; what says what is not is about the record."""
    if isinstance(where, Condition):
        if len(where.path) < 2:
            return None
        names.require(table, where.path[0])
        return names.step(table, where.path[0], depth)
    if where.operator == "not" or not where.members:
        return None
    steps = [_relation_of(member, table, names, depth) for member in where.members]
    first = steps[0]
    if first is None or any(one is None or one.name != first.name for one in steps):
        return None
    return first


def _stripped(where: Where) -> Where:
    if isinstance(where, Condition):
        return replace(where, path=where.path[1:])
    return Group(where.operator, tuple(map(_stripped, where.members)))


def _test(condition: Condition, table: StoredTable, names: Names) -> Test:
    leaf = names.leaf(table, condition.path)
    value = read_value(leaf, condition.comparator, condition.value)
    comparator = condition.comparator
    if leaf.source == "key" and comparator in ("equals", "not_equal", "in"):
        return _key_test(leaf, comparator, value)
    matches = value_test(comparator, value, leaf.label)
    element = element_test(comparator, value, leaf.label)
    return Test(leaf, comparator, value, matches, element)


def _key_test(leaf: Leaf, comparator: Comparator, value: object) -> Test:
    """Keys are compared with what can be one; a value that cannot equals none."""
    wanted = value if comparator == "in" and isinstance(value, list) else [value]
    keys: list[KeyValue] = []
    for one in wanted:
        try:
            keys.append(leaf.table.check_key(one))
        except InvalidKey:
            continue
    found = frozenset(keys)
    if comparator == "not_equal":
        return Test(leaf, comparator, keys, lambda key: _hashable(key) not in found)
    return Test(leaf, "in", keys, lambda key: _hashable(key) in found)


def _hashable(key: object) -> object:
    return tuple(key) if isinstance(key, list) else key
