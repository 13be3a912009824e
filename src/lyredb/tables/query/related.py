"""The records of another table that belong to a record.

What joins two records is one value that stands in both; either side may be a key, which
is found in the table, or any attribute, which is found by its index. Without an index the
related table is read once, before the first record, into a dictionary.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lyredb.errors import IndexRebuilding, InvalidKey
from lyredb.storage.keys import ABSENT, encode_index_value, encode_ordered, is_cut
from lyredb.tables.keys import key_text
from lyredb.tables.query.compare import equal
from lyredb.tables.query.fields import Touched, Value, key_value
from lyredb.tables.query.paths import Leaf, Step
from lyredb.tables.query.view import RecordWalk, Row, View
from lyredb.tables.stored import StoredTable

CACHED_VALUES: Final = 4096
"""Related records of so many values are remembered: many records share few brands."""


def side(table: StoredTable, name: str) -> Leaf:
    """Return one side of a relation; ``""`` is the key."""
    if not name or name == table.schema.primary_key:
        return Leaf(table, table.schema.primary_key, (), "key")
    attribute = table.schema.attribute(name)
    computed = attribute is not None and attribute.computed is not None
    type = None if attribute is None else attribute.type
    return Leaf(table, name, (), "computed" if computed else "body", type)


def values_in(value: object) -> list[object]:
    """Return the values that join: each of a list once, none for null and what is absent."""
    found: list[object] = []
    seen: set[bytes] = set()
    for one in value if isinstance(value, (list, tuple)) else (value,):
        if one is None or one is ABSENT:
            continue
        encoded = encode_ordered(one)
        if encoded not in seen:
            seen.add(encoded)
            found.append(one)
    return found


def spellings(table: StoredTable, key: object) -> list[object]:
    """Return the values that name a key.

    Undeclared integers may stand as text, too. A key of several segments stands as its text
    only: a list of values is several keys.
    """
    if isinstance(key, (tuple, list)):
        return [key_text(tuple(key))]
    if isinstance(key, int) and table.schema.key_type in ("Any", "BigInt"):
        return [key, str(key)]
    return [key]


class Finder:
    """Finds records of one table by the value of one attribute.

    Args:
        view: What is read.
        leaf: The attribute.
    """

    def __init__(self, view: View, leaf: Leaf, building: frozenset[int]) -> None:
        self._view = view
        self._leaf = leaf
        index = leaf.index()
        self._index = None if index is None or index.slot in building else index
        self._all: dict[bytes, list[bytes]] | None = None
        touched = Touched(leaf.table)
        self._value = touched.value(leaf)
        self._read = touched.reader()
        if index is not None and self._index is None:
            raise IndexRebuilding(f"the index of {leaf.name} is being built; try again later")

    @property
    def is_indexed(self) -> bool:
        """No scan is needed."""
        return self._leaf.source == "key" or self._index is not None

    @property
    def is_by_key(self) -> bool:
        """A value names one record at most."""
        return self._leaf.source == "key"

    def named(self, values: set[str]) -> dict[str, list[Row]]:
        """Return for each value the record that has it as its key, or none."""
        found: dict[str, list[Row]] = {value: [] for value in values}
        by_key: dict[bytes, str] = {}
        for value in values:
            try:
                by_key[self._leaf.table.encode_key(value)] = value
            except InvalidKey:
                continue
        rows = self._view.get_many(self._leaf.table.slot, sorted(by_key))
        for row in rows:
            found[by_key[row[0]]].append(row)
        self._view.meter.read += len(rows)
        return found

    def prepare(self) -> Iterator[None]:
        """Read the table where there is no other way; a step at a time."""
        if self.is_indexed or self._all is not None:
            return
        found: dict[bytes, list[bytes]] = {}
        walk = RecordWalk(self._view, self._leaf.table.slot, [(b"", b"\xff")])
        count = 0
        while (rows := walk.next()) is not None:
            for key, stored in rows:
                for value in values_in(self._value(self._read(stored), key, stored)):
                    found.setdefault(encode_ordered(value), []).append(key)
                    count += 1
            self._view.meter.looked_at(len(rows), 0)
            self._view.meter.remember(count)
            yield
        self._all = found

    def find(self, value: object) -> list[Row]:
        """Return the records that have a value, in the order of their keys."""
        if self._leaf.source == "key":
            return self._by_key(value)
        if self._index is not None:
            return self._by_index(value)
        assert self._all is not None, "prepared"
        return self._rows(self._all.get(encode_ordered(value), []))

    def _by_key(self, value: object) -> list[Row]:
        try:
            key = self._leaf.table.encode_key(value)
        except InvalidKey:
            return []
        return self._rows([key])

    def _by_index(self, value: object) -> list[Row]:
        if isinstance(value, (dict, list)):
            return []
        assert self._index is not None, "asked by who knows"
        encoded = encode_index_value(value)
        part = (encoded, encoded + b"\x00")
        table, view = self._leaf.table, self._view
        entries = view.entries(table, self._index.slot, part, None, reverse=False)
        keys = []
        for _, key in entries:
            keys.append(key)
            view.meter.relate(len(keys))
        rows = self._rows(keys)
        return [row for row in rows if self._has(row, value)] if is_cut(encoded) else rows

    def _has(self, row: Row, value: object) -> bool:
        stands = self._value(self._read(row[1]), *row)
        return any(equal(one, value) for one in values_in(stands))

    def _rows(self, keys: list[bytes]) -> list[Row]:
        self._view.meter.relate(len(keys))
        rows = self._view.get_many(self._leaf.table.slot, keys)
        self._view.meter.read += len(rows)
        return rows


class Join:
    """From a record to its related ones.

    Args:
        view: What is read.
        step: The relation.
        building: Indexes that are not complete.
    """

    def __init__(self, view: View, step: Step, building: frozenset[int]) -> None:
        self.step = step
        self._here = side(step.table, step.relation.here)
        self._finder = Finder(view, side(step.target, step.relation.there), building)
        self._meets_key = self._here.source == "key"
        self._cache: dict[bytes, list[Row]] = {}
        self._by_text: dict[str, list[Row]] = {}
        self._view = view

    @property
    def is_indexed(self) -> bool:
        """It needs no scan of the related table."""
        return self._finder.is_indexed

    def prepare(self) -> Iterator[None]:
        """Get ready; see `Finder.prepare`."""
        return self._finder.prepare()

    def here(self, touched: Touched) -> Value:
        """Return how the value that joins is read from a record."""
        return touched.value(self._here)

    def rows(self, value: object) -> list[Row]:
        """Return the related records of a record in which this value joins, each once.

        In the order of the list that the value is, else in the order of their keys.
        """
        if isinstance(value, str):  # the common case: one value, whose records come but once
            return self._of_text(value)
        found: list[Row] = []
        seen: set[bytes] = set()
        for one in self._joining(value):
            for row in self._of(one):
                if row[0] not in seen:
                    seen.add(row[0])
                    found.append(row)
        self._view.meter.relate(len(found))
        if self._meets_key and len(found) > 1:
            found.sort()
        return found

    def _joining(self, value: object) -> list[object]:
        if not self._meets_key:
            return values_in(value)
        return spellings(self.step.table, value)

    def fetch(self, values: list[object]) -> None:
        """Read the records of several values at once, where a value names one record."""
        fresh = {one for one in values if isinstance(one, str)} - self._by_text.keys()
        if len(fresh) > 1 and self._finder.is_by_key:
            self._make_room(len(fresh))
            self._by_text.update(self._finder.named(fresh))

    def _of_text(self, value: str) -> list[Row]:
        rows = self._by_text.get(value)
        if rows is None:
            rows = self._finder.find(value)
            self._make_room(1)
            self._by_text[value] = rows
        return rows

    def _make_room(self, count: int) -> None:
        if len(self._by_text) + count > CACHED_VALUES:
            self._by_text.clear()

    def _of(self, value: object) -> list[Row]:
        encoded = encode_ordered(value)
        rows = self._cache.get(encoded)
        if rows is None:
            rows = self._finder.find(value)
            if len(self._cache) >= CACHED_VALUES:
                self._cache.clear()
            self._cache[encoded] = rows
        return rows


def key_as_value(table: StoredTable, row: Row) -> list[object]:
    """Return the values by which others name a record."""
    return spellings(table, key_value(table, *row))
