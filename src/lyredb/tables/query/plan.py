"""Which way a query takes to its records, what filters them, and how they are ordered.

Costs are about the number of reads. A record by a key or an index entry counts 2 (the
entry and the record), one of a scan 0.5. What is not known is guessed: a condition
without an index keeps a third.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from lyredb.errors import IndexRebuilding, InvalidKey, UnknownAttribute
from lyredb.tables.query.access import (
    Access,
    ByIndex,
    ByKeys,
    ByRelated,
    ByScan,
    ByUnion,
    describe,
)
from lyredb.tables.query.order import OrderKey
from lyredb.tables.query.predicate import Joins, cost_of
from lyredb.tables.query.ranges import (
    EVERYTHING,
    Range,
    common,
    index_ranges,
    is_exact,
    key_ranges,
    text_prefix_range,
)
from lyredb.tables.query.related import side
from lyredb.tables.query.terms import Query
from lyredb.tables.query.tree import Either, Every, Exists, Node, Test, members_of
from lyredb.tables.query.view import View
from lyredb.tables.stored import StoredTable

Strategy = Literal["none", "index", "key", "top", "sort"]
_ENTRY: Final = 2.0
_SCANNED: Final = 0.5
_SCAN: Final = 10_000.0
"""Before its first record. An estimate may be wrong: a scan that should not have been is
much dearer than an index that finds nearly everything."""
_KEPT: Final = 1 / 3
_SORTED: Final = 0.5
_JOINED: Final = 5.0
_FEW: Final = 32
"""Records that are read about as fast as what one more condition finds is estimated."""
INTERSECT_FROM: Final = 500
"""Records below which two indexes are not worth the second walk."""
INTERSECT_UPTO: Final = 4
"""How many times longer the second index may be: an entry costs a tenth of a record."""


@dataclass(slots=True, eq=False)
class Plan:
    """What `execute` does.

    Attributes:
        table: Where.
        access: The way to the records.
        filters: What must hold besides, in the order in which it is asked.
        strategy: How they come in order: ``none``; ``index`` and ``key``: as they are read;
            ``top``: the first few are kept; ``sort``: all are.
        order: The order that is asked for.
        prefix: What ids begin with.
    """

    table: StoredTable
    access: Access
    filters: tuple[Node, ...]
    strategy: Strategy
    order: tuple[OrderKey, ...]
    prefix: str = ""

    def explain(self) -> dict[str, object]:
        """Return the plan in words, for people and tests."""
        covered = set(map(id, self.access.covers))
        conditions: list[dict[str, object]] = [
            {"condition": str(node), "by": self.access.kind} for node in self.access.covers
        ]
        conditions += [
            {"condition": str(node), "by": "filter"}
            for node in self.filters
            if id(node) not in covered
        ]
        explained: dict[str, object] = {
            "table": self.table.name,
            **describe(self.access),
            "conditions": conditions,
            "filters": [_label(node) for node in self.filters],
            "sort": self.strategy,
        }
        if self.order:
            explained["order"] = [key.label for key in self.order]
        joins = [name for node in self.filters for name in _joins(node)]
        if joins:
            explained["joins"] = joins
        if self.prefix:
            explained["prefix"] = self.prefix
        return explained


def _is_by_keys(node: Node) -> bool:
    return isinstance(node, Test) and node.leaf.source == "key" and node.comparator == "in"


def _label(node: Node) -> str:
    return node.leaf.label if isinstance(node, Test) else str(node)


def _joins(node: Node) -> Iterator[str]:
    match node:
        case Exists():
            yield f"{node.step.name} -> {node.step.target.name}"
            yield from _joins(node.inner)
        case Every() | Either():
            for member in node.members:
                yield from _joins(member)
        case Test():
            return
        case _:
            yield from _joins(node.member)


class Planner:
    """Plans the queries of one answer.

    Args:
        joins: The view, and the indexes that are not complete.
    """

    def __init__(self, joins: Joins) -> None:
        self._view: View = joins.view
        self._building = joins.building
        self._missed = ""

    def plan(
        self,
        table: StoredTable,
        where: Node | None,
        order: tuple[OrderKey, ...],
        query: Query,
        prefix: str,
    ) -> Plan:
        """Return the way to a query's records.

        Raises:
            UnknownAttribute: It needs an index that the table does not have.
            IndexRebuilding: It needs an index that is not complete yet.
        """
        nodes = members_of(where)
        found = list(self._accesses(table, nodes))
        if query.enforce_order:
            found = found[:1]
        scan = self._scan(table, prefix)
        wanted = None if query.limit is None else query.limit + query.offset
        access, strategy = self._choose(table, found, scan, nodes, order, wanted)
        self._refuse(table, access, strategy, nodes, order, query, prefix)
        if isinstance(access, ByIndex) and not access.also and strategy != "index":
            access = self._intersected(access, found)
        covered = set(map(id, access.covers))
        filters = [node for node in nodes if id(node) not in covered]
        if not query.enforce_order:
            filters.sort(key=cost_of)
        return Plan(table, access, tuple(filters), strategy, order, prefix)

    def _scan(self, table: StoredTable, prefix: str) -> ByScan:
        part = text_prefix_range(prefix, split=table.schema.split_segments)
        count = self._view.estimate_records(table.slot, part)
        return ByScan(table, (part,), cost=_SCAN + count * _SCANNED, estimate=count)

    def _choose(
        self,
        table: StoredTable,
        found: list[Access],
        scan: ByScan,
        nodes: tuple[Node, ...],
        order: tuple[OrderKey, ...],
        wanted: int | None,
    ) -> tuple[Access, Strategy]:
        unsorted: Strategy = "none" if not order else "sort" if wanted is None else "top"
        matching = min([scan.estimate, *(one.estimate for one in found)])
        share = _KEPT if nodes and not found else 1.0
        matching = max(1, round(matching * share))
        choices: list[tuple[float, Access, Strategy]] = []
        dear = sum(_JOINED for node in nodes if isinstance(node, Exists))
        for access in (*found, scan):
            own = 0.0 if isinstance(access, ByRelated) else dear
            sorting = access.estimate * _SORTED if order else 0.0
            cost = access.cost + access.estimate * own + sorting
            if not order:
                # The first few are enough, wherever they are.
                cost = self._stopped(cost, access.estimate, matching, wanted)
            choices.append((cost, access, unsorted))
        for access, strategy in self._ordered(table, found, scan, order):
            cost = access.cost + access.estimate * dear
            cost = self._stopped(cost, access.estimate, matching, wanted)
            choices.append((cost, access, strategy))
        _, access, strategy = min(choices, key=lambda choice: choice[0])
        return access, strategy

    def _stopped(self, cost: float, estimate: int, matching: int, wanted: int | None) -> float:
        """What it costs to read until enough has been found."""
        if wanted is None or not estimate:
            return cost
        return cost * min(1.0, wanted / min(matching, estimate) if matching else 1.0)

    def _ordered(
        self,
        table: StoredTable,
        found: Iterable[Access],
        scan: ByScan,
        order: tuple[OrderKey, ...],
    ) -> Iterator[tuple[Access, Strategy]]:
        """The accesses that give the order by themselves."""
        if not order or order[0].steps:
            return
        first = order[0]
        if first.leaf.source == "key":
            for one in (*found, scan):
                if isinstance(one, ByScan):
                    yield replace(one, reverse=first.descending), "key"
            return
        index = self._index(first.leaf.index())
        if index is None:
            return
        entries = self._view.estimate_index(index, EVERYTHING)
        layout = first.leaf.index()
        assert layout is not None, "its slot was found"
        for one in found:
            if isinstance(one, ByIndex) and one.index.slot == index and not first.leaf.may_be_list:
                yield replace(one, reverse=first.descending), "index"
        yield (
            ByIndex(
                table,
                first.leaf,
                layout,
                (EVERYTHING,),
                cost=entries * _ENTRY,
                estimate=entries,
                reverse=first.descending,
            ),
            "index",
        )

    def _accesses(self, table: StoredTable, nodes: tuple[Node, ...]) -> Iterator[Access]:
        """The ways that conditions that must all hold offer, in their order.

        After one that finds few records only keys count, which need no estimate: nothing else
        is so much better that it is worth one.
        """
        fused: set[int] = set()
        finds_few = False
        for node in nodes:
            if finds_few and not _is_by_keys(node):
                continue
            match node:
                case Test() if node.leaf.source == "key":
                    access = self._by_key(table, node)
                case Test():
                    if id(node) in fused:
                        continue
                    same = self._fusible(node, nodes)
                    fused.update(map(id, same))
                    access = self._by_index(table, same)
                case Either():
                    access = self._by_union(table, node)
                case Exists():
                    access = self._by_related(table, node)
                case Every():
                    yield from self._accesses(table, node.members)
                    continue
                case _:
                    continue
            if access is not None:
                yield access
                finds_few = finds_few or access.estimate <= _FEW

    def _fusible(self, node: Test, nodes: tuple[Node, ...]) -> list[Test]:
        """The conditions that together are one range: of an attribute that holds no list."""
        if node.leaf.may_be_list:
            return [node]
        return [one for one in nodes if isinstance(one, Test) and one.leaf.label == node.leaf.label]

    def _by_key(self, table: StoredTable, node: Test) -> Access | None:
        if node.comparator == "in":
            assert isinstance(node.value, list), "made from keys"
            keys = set()
            for value in node.value:
                try:
                    keys.add(table.encode_key(value))
                except InvalidKey:
                    continue  # too long to be stored
            count = len(keys)
            return ByKeys(table, tuple(sorted(keys)), (node,), max(count, 0.1), count)
        parts = key_ranges(node.comparator, node.value)
        if parts is None:
            return None
        count = sum(self._view.estimate_records(table.slot, part) for part in parts)
        covers = (node,) if is_exact(node.comparator, node.value) else ()
        cost = 1 + count * _SCANNED
        return ByScan(table, tuple(parts), covers, cost, estimate=count, by=(node,))

    def _by_index(self, table: StoredTable, tests: list[Test]) -> Access | None:
        leaf = tests[0].leaf
        layout = leaf.index()
        if layout is None:
            return None
        parts: list[Range] | None = None
        used = []
        for test in tests:
            ranges = index_ranges(test.comparator, test.value, leaf.source)
            if ranges is not None:
                parts = ranges if parts is None else common(parts, ranges)
                used.append(test)
        if parts is None:
            return None
        slot = self._index(layout)
        if slot is None:
            self._missed = self._missed or leaf.label
            return None
        count = sum(self._view.estimate_index(slot, part) for part in parts[:_ESTIMATED])
        count = round(count * max(1, len(parts) / _ESTIMATED))
        cost = 1 + count * _ENTRY
        return ByIndex(table, leaf, layout, tuple(parts), tuple(used), cost, count)

    def _by_union(self, table: StoredTable, node: Either) -> Access | None:
        branches = []
        for member in node.members:
            found = list(self._accesses(table, members_of(member)))
            if not found:
                return None
            branches.append(min(found, key=lambda access: access.cost))
        cost = sum(access.cost for access in branches)
        return ByUnion(table, tuple(branches), cost, sum(one.estimate for one in branches))

    def _by_related(self, table: StoredTable, node: Exists) -> Access | None:
        """Begin at the related table: at what matches there."""
        step = node.step
        here = side(table, step.relation.here)
        layout = here.index()
        if here.source != "key" and self._index(layout) is None:
            return None
        nodes = members_of(node.inner)
        found = list(self._accesses(step.target, nodes))
        scan = self._scan(step.target, "")
        inner = min((*found, scan), key=lambda access: access.cost)
        covered = set(map(id, inner.covers))
        rest = tuple(one for one in nodes if id(one) not in covered)
        there = max(1.0, inner.estimate * (_KEPT if isinstance(inner, ByScan) else 1.0))
        each = max(1.0, self._view.count(table.slot) / max(1, self._view.count(step.target.slot)))
        count = round(there * (1.0 if here.source == "key" else each))
        cost = inner.cost + count * _ENTRY
        remaining = Every(rest) if rest else None
        return ByRelated(table, node, inner, remaining, layout, cost, count)

    def _index(self, layout: object) -> int | None:
        """The slot of an index that is complete."""
        slot = getattr(layout, "slot", None)
        return None if slot is None or slot in self._building else slot

    def _intersected(self, access: ByIndex, found: list[Access]) -> ByIndex:
        """Read the keys of further indexes first where that saves reading records."""
        if access.estimate < INTERSECT_FROM:
            return access
        also = tuple(
            other
            for other in found
            if isinstance(other, ByIndex)
            and other.index.slot != access.index.slot
            and other.estimate <= INTERSECT_UPTO * access.estimate
            and not other.has_cut_values
        )
        return replace(access, also=also)

    def _refuse(
        self,
        table: StoredTable,
        access: Access,
        strategy: Strategy,
        nodes: tuple[Node, ...],
        order: tuple[OrderKey, ...],
        query: Query,
        prefix: str,
    ) -> None:
        is_full = isinstance(access, ByScan) and not access.by and not prefix and strategy != "key"
        if is_full and self._missed:
            raise IndexRebuilding(
                f"the index of {self._missed[:60]} is being built; try again in a moment"
            )
        if order and not nodes and not prefix and strategy in ("sort", "top"):
            self._refuse_order(order[0])
        if is_full and not query.allow_full_scan:
            raise UnknownAttribute(
                "not indexed: no condition is on an indexed attribute, and a scan of the whole "
                "table is not allowed"
            )

    def _refuse_order(self, first: OrderKey) -> None:
        layout = first.leaf.index()
        if layout is not None and self._index(layout) is None:
            raise IndexRebuilding(f"the index of {first.leaf.label[:60]} is being built")
        if layout is None and first.leaf.source != "key":
            raise UnknownAttribute(
                f"{first.label.lstrip('-')[:60]} is not indexed and not combined with any other "
                "conditions"
            )


_ESTIMATED: Final = 16
"""Ranges of one condition that are estimated; more are taken to be like them."""
