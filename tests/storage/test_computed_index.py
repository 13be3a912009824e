"""Indexes of what expressions make of records, kept with every write and built later."""

from __future__ import annotations

from pathlib import Path

from lyredb.storage.check import check
from lyredb.storage.keys import ABSENT, encode_index_value, encode_key
from lyredb.storage.layout import IndexLayout, IndexSource, TableLayout
from lyredb.storage.mutation import Kind, Mutation
from tests.storage.store import SLOT, Store, add, delete, patch, put

SUM = IndexLayout(20, ("total",), IndexSource.COMPUTED, "price * count", "1")
WORDS = IndexLayout(21, ("words",), IndexSource.COMPUTED, "name.lower().split(' ')", "1")
PLAIN = TableLayout(SLOT, "data.T")
TABLE = TableLayout(SLOT, "data.T", indexes=(SUM, WORDS))


def found(store: Store, slot: int, value: object) -> set[bytes]:
    """The keys of the records that an index has under a value."""
    with store.engine.snapshot() as snapshot:
        return set(snapshot.index_keys(slot, encode_index_value(value)))


def test_an_index_follows_what_the_expression_makes(tmp_path: Path) -> None:
    """Through puts, patches, sums and deletes; a list is indexed by its elements."""
    store = Store(tmp_path, table=TABLE)
    store.commit(put("a", price=2, count=3, name="Red Ball"), put("b", price="x", count=3))
    store.commit(Mutation(SLOT, encode_key("c"), Kind.PUT, b"\xff\x00", opaque=True))
    a, b, c = map(encode_key, "abc")
    assert found(store, 20, 6) == {a}
    assert found(store, 21, "ball") == found(store, 21, "red") == {a}
    assert found(store, 21, None) == {b}
    assert found(store, 20, ABSENT) == found(store, 21, ABSENT) == {c}
    store.commit(patch("a", price=5))
    store.commit(add("a", count=1))
    assert (found(store, 20, 6), found(store, 20, 20)) == (set(), {a})
    store.commit(delete("a"))
    assert found(store, 20, 20) == found(store, 21, "ball") == set()
    assert check(store.engine) == []
    store.close()


def test_an_index_is_built_over_records_that_are_there(tmp_path: Path) -> None:
    """The same entries as of records that are written after it."""
    store = Store(tmp_path, table=PLAIN)
    store.commit(*(put(str(number), price=number, count=2) for number in range(50)))
    store.engine.define_table(TABLE)
    for index in TABLE.indexes:
        for _ in store.engine.build_index(TABLE, index):
            pass
    assert found(store, 20, 14) == {encode_key("7")}
    assert check(store.engine) == []
    store.close()
