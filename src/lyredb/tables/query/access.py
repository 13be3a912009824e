"""Ways to the records of a table: by key, by index, over a relation, or all of them.

Each gives batches of records (empty ones, too, so that others may have a turn), none of
them twice, as of one position. What an access says it `covers` needs no further test.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lyredb.storage.keys import ABSENT, SHORT_FORM_BYTES, encode_index_value, is_cut
from lyredb.storage.layout import IndexLayout
from lyredb.tables.query.fields import Touched
from lyredb.tables.query.paths import Leaf
from lyredb.tables.query.predicate import Joins, RowTest, compile_test
from lyredb.tables.query.ranges import Range
from lyredb.tables.query.related import key_as_value, side, values_in
from lyredb.tables.query.tree import Every, Exists, Node, Test
from lyredb.tables.query.view import IndexWalk, RecordWalk, Row, View
from lyredb.tables.stored import StoredTable

Batches: TypeAlias = Iterator[list[Row]]


@dataclass(slots=True, eq=False)
class ByKeys:
    """Records by their keys.

    Attributes:
        table: Theirs.
        keys: Stored keys, ascending, each once.
        covers: What needs no further test.
        cost: About how many reads it takes.
        estimate: About how many records it finds.
    """

    table: StoredTable
    keys: tuple[bytes, ...]
    covers: tuple[Node, ...] = ()
    cost: float = 1
    estimate: int = 1
    kind: str = "key"

    def batches(self, joins: Joins) -> Batches:
        """Yield the records in the order of the keys."""
        view = joins.view
        at = 0
        while at < len(self.keys):
            some = self.keys[at : at + view.batch]
            at += len(some)
            rows = view.get_many(self.table.slot, some)
            view.meter.looked_at(len(some), len(some))
            yield rows


@dataclass(slots=True, eq=False)
class ByScan:
    """The records in ranges of the keys, all of the table at worst.

    Attributes:
        parts: Ascending and apart.
        reverse: From the highest key down.
    """

    table: StoredTable
    parts: tuple[Range, ...]
    covers: tuple[Node, ...] = ()
    cost: float = 1
    estimate: int = 1
    reverse: bool = False
    by: tuple[Test, ...] = ()
    kind: str = "scan"

    def batches(self, joins: Joins) -> Batches:
        """Yield the records in the order of the keys."""
        walk = RecordWalk(joins.view, self.table.slot, list(self.parts), reverse=self.reverse)
        while (rows := walk.next()) is not None:
            joins.view.meter.read += len(rows)
            yield rows


@dataclass(slots=True, eq=False)
class ByIndex:
    """The records that stand in ranges of an index.

    Attributes:
        leaf: The attribute.
        index: Of it.
        parts: Ascending and apart.
        by: The conditions that the ranges are made of.
        reverse: Values descend; keys of one value ascend all the same.
        also: Other indexes in which a record must stand, too: their keys are read first.
    """

    table: StoredTable
    leaf: Leaf
    index: IndexLayout
    parts: tuple[Range, ...]
    by: tuple[Test, ...] = ()
    cost: float = 1
    estimate: int = 1
    reverse: bool = False
    also: tuple[ByIndex, ...] = ()
    kind: str = "index"

    @property
    def covers(self) -> tuple[Node, ...]:
        """What needs no further test."""
        return (*self.by, *(test for other in self.also for test in other.by))

    def batches(self, joins: Joins) -> Batches:
        """Yield the records in the order of the values."""
        for _, rows in self.valued(joins):
            yield rows

    def valued(
        self, joins: Joins, *, with_values: bool = False
    ) -> Iterator[tuple[list[bytes], list[Row]]]:
        """Yield records, and the encoded values at which they stand.

        Args:
            joins: Has the view.
            with_values: Else there are none of a batch in which no value was cut.
        """
        view, slot = joins.view, self.table.slot
        test: RowTest | None = None
        seen: set[bytes] | None = set() if self._may_repeat else None
        for entries in self._entries(joins):
            whole = [key for encoded, key in entries if len(encoded) < SHORT_FORM_BYTES]
            if len(whole) == len(entries) and seen is None and not with_values:
                rows = view.get_many(slot, whole)
                view.meter.looked_at(len(entries), len(rows))
                yield [], rows
                continue
            test = test or self._test(joins)
            values, rows = self._tested(entries, view, seen, test)
            view.meter.looked_at(len(entries), len(rows))
            yield values, rows

    def _tested(
        self, entries: list[Row], view: View, seen: set[bytes] | None, test: RowTest
    ) -> tuple[list[bytes], list[Row]]:
        """The records of entries, each once, and none whose whole value does not match."""
        values: list[bytes] = []
        rows: list[Row] = []
        found = dict(view.get_many(self.table.slot, [key for _, key in entries]))
        for encoded, key in entries:
            stored = found.get(key)
            if stored is None or (seen is not None and key in seen):
                continue
            if is_cut(encoded) and not test(key, stored):
                continue  # another element may match
            if seen is not None:
                seen.add(key)
            values.append(encoded)
            rows.append((key, stored))
        if seen is not None:
            view.meter.remember(len(seen))
        return values, rows

    def _entries(self, joins: Joins) -> Iterator[list[Row]]:
        """Yield entries, empty lists too; only of records that stand in the other indexes."""
        view = joins.view
        allowed: set[bytes] | None = None
        for other in self.also:
            keys: set[bytes] = set()
            for some in other.keys(joins):
                keys.update(some)
                view.meter.remember(len(keys))
                yield []
            allowed = keys if allowed is None else allowed & keys
        walk = IndexWalk(view, self.table, self.index.slot, list(self.parts), reverse=self.reverse)
        while (entries := walk.next()) is not None:
            if allowed is None:
                yield entries
                continue
            kept = [entry for entry in entries if entry[1] in allowed]
            view.meter.looked_at(len(entries) - len(kept), 0)
            yield kept

    def keys(self, joins: Joins) -> Iterator[list[bytes]]:
        """Yield the keys alone; a cut value's are among them, tested or not."""
        walk = IndexWalk(joins.view, self.table, self.index.slot, list(self.parts))
        while (entries := walk.next()) is not None:
            yield [key for _, key in entries]

    @property
    def has_cut_values(self) -> bool:
        """Its ranges may hold values that were cut, so that keys alone prove nothing."""
        return any(part[1] > b"\x30" for part in self.parts)

    @property
    def _may_repeat(self) -> bool:
        return self.leaf.may_be_list

    def _test(self, joins: Joins) -> RowTest:
        if not self.by:
            return lambda key, stored: True
        return compile_test(Every(self.by), self.table, joins)


@dataclass(slots=True, eq=False)
class ByUnion:
    """The records of several accesses, each once."""

    table: StoredTable
    branches: tuple[Access, ...]
    cost: float = 1
    estimate: int = 1
    covers: tuple[Node, ...] = ()
    kind: str = "union"

    def batches(self, joins: Joins) -> Batches:
        """Yield the records of one after the other; each has to be tested as a whole."""
        seen: set[bytes] = set()
        for branch in self.branches:
            for rows in branch.batches(joins):
                fresh = [row for row in rows if row[0] not in seen]
                seen.update(key for key, _ in fresh)
                joins.view.meter.remember(len(seen))
                yield fresh


@dataclass(slots=True, eq=False)
class ByRelated:
    """The records to which those of another table lead that fulfil conditions.

    Attributes:
        exists: The condition on the related records.
        inner: The way to those.
        rest: What those must fulfil besides.
        index: Of the attribute here; ``None`` when it is the key.
    """

    table: StoredTable
    exists: Exists
    inner: Access
    rest: Node | None
    index: IndexLayout | None
    cost: float = 1
    estimate: int = 1
    covers: tuple[Node, ...] = ()
    kind: str = "related"

    def batches(self, joins: Joins) -> Batches:
        """Yield the records, in the order of the related ones."""
        relation = self.exists.step.relation
        target = self.exists.step.target
        touched = Touched(target)
        there = side(target, relation.there)
        value = touched.value(there)
        read = touched.reader()
        test = None if self.rest is None else compile_test(self.rest, target, joins)
        seen: set[bytes] = set()
        for rows in self.inner.batches(joins):
            kept = rows if test is None else [row for row in rows if test(*row)]
            yield []
            for key, stored in kept:
                if there.source == "key":
                    joining = key_as_value(target, (key, stored))
                else:
                    joining = values_in(value(read(stored), key, stored))
                yield from self._of(joining, joins, seen)

    def _of(self, joining: list[object], joins: Joins, seen: set[bytes]) -> Batches:
        view, slot = joins.view, self.table.slot
        for one in joining:
            for keys in self._keys(one, joins):
                fresh = [key for key in keys if key not in seen]
                seen.update(fresh)
                rows = view.get_many(slot, fresh)
                view.meter.remember(len(seen))
                view.meter.looked_at(len(keys), len(rows))
                yield rows

    def _keys(self, value: object, joins: Joins) -> Iterator[list[bytes]]:
        if self.index is None:
            try:
                yield [self.table.encode_key(value)]
            except ValueError:  # no key can be this value
                return
            return
        if isinstance(value, (dict, list)) or value is ABSENT:
            return
        encoded = encode_index_value(value)
        part = (encoded, encoded + b"\x00")
        walk = IndexWalk(joins.view, self.table, self.index.slot, [part])
        while (entries := walk.next()) is not None:
            yield [key for _, key in entries]


Access: TypeAlias = ByKeys | ByScan | ByIndex | ByUnion | ByRelated


def describe(access: Access) -> dict[str, object]:
    """Return what `explain` says of an access."""
    said: dict[str, object] = {"access": access.kind, "estimate": access.estimate}
    match access:
        case ByIndex():
            said["attribute"] = access.leaf.label
            said["ranges"] = len(access.parts)
            if access.also:
                said["intersected"] = [other.leaf.label for other in access.also]
        case ByKeys():
            said["attribute"] = access.table.schema.primary_key
            if not access.keys:
                said["access"] = "nothing"
        case ByScan() if access.by:
            said["access"] = "key range"
            said["attribute"] = access.table.schema.primary_key
        case ByUnion():
            said["branches"] = [describe(branch) for branch in access.branches]
        case ByRelated():
            said["attribute"] = access.exists.step.name
            said["from"] = {"table": access.inner.table.name, **describe(access.inner)}
    return said
