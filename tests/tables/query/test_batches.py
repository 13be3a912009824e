"""Records are read, filtered and shaped in batches; nothing of that may be seen in answers."""

from __future__ import annotations

from typing import Any

import pytest

from lyredb.errors import NotAuthorised
from lyredb.formats import PAUSE
from lyredb.storage.mutation import Kind, Mutation
from lyredb.tables.query.execute import search
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.query.terms import Condition, Query
from lyredb.tables.stored import StoredTable
from tests.tables.conftest import Store, found

NOTES = """
type Note @table {
  id: ID @primaryKey
  raw: Bytes
  spare: String
}
"""
SHOP = """
type Brand @table {
  id: ID @primaryKey
  name: String
}
type Product @table {
  id: ID @primaryKey
  group: String @indexed
  brandId: ID
  brand: Brand @relationship(from: brandId)
}
"""


def ids(store: Store, table: StoredTable, query: Query) -> list[object]:
    return [one["id"] for one in found(store.engine, table, query)]


@pytest.fixture
def notes(store: Store) -> StoredTable:
    """Records that hold the same word in every place where one can be."""
    table = store.table(NOTES)
    records: dict[str, dict[str, object]] = {
        "text": {"spare": "für Größe"},
        "begins": {"spare": "Größe, ja"},
        "same": {"spare": "Größe"},
        "list": {"spare": "no", "list": ["a", "die Größe"]},
        "inside": {"spare": "no", "of": {"it": [{"name": "Größe"}]}},
        "raw": {"spare": "no", "raw": "x Größe".encode()},
        "name": {"spare": "no", "Größe": "in a name"},
        "other": {"spare": "gröber"},
    }
    for key, record in records.items():
        store.put(table, key, record)
    payload = Mutation(
        table.slot, table.encode_key("payload"), Kind.PUT, "Größe".encode(), opaque=True
    )
    store.write(payload)
    return table


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        (Condition(("spare",), "contains", "Größe"), ["begins", "same", "text"]),
        (Condition(("spare",), "starts_with", "Größe"), ["begins", "same"]),
        (Condition(("spare",), "ends_with", "Größe"), ["same", "text"]),
        (Condition(("spare",), "equals", "Größe"), ["same"]),
        (Condition(("spare",), "contains", ""), None),
        (Condition(("list",), "contains", "Größe"), ["list"]),
        (Condition(("of", "it", "name"), "equals", "Größe"), ["inside"]),
        (Condition(("raw",), "contains", "Größe".encode()), ["raw"]),
        (Condition(("data",), "contains", "röß"), ["payload"]),
        (~Condition(("spare",), "contains", "Größe"), None),
        (
            Condition(("spare",), "equals", "no") & Condition(("list",), "contains", "Größe"),
            ["list"],
        ),
        (
            Condition(("spare",), "equals", "gröber") | Condition(("list",), "contains", "Größe"),
            ["list", "other"],
        ),
    ],
    ids=str,
)
def test_a_text_is_found_where_it_stands_and_nowhere_else(
    store: Store, notes: StoredTable, condition: Any, wanted: list[str] | None
) -> None:
    """Records without the bytes of a text are passed over; all with them are looked at."""
    answer = ids(store, notes, Query(condition))
    if wanted is not None:
        assert answer == wanted
    else:
        assert len(answer) > len(("begins", "same", "text"))


def test_related_records_of_a_batch_are_those_of_each(store: Store) -> None:
    """Shared ones, missing ones, values that can be no key, and lists of them."""
    catalogue = store.tables(SHOP)
    brand, product = (catalogue.tables[f"data.{name}"] for name in ("Brand", "Product"))
    for number in range(4):
        store.put(brand, f"b{number}", {"name": f"Brand {number % 2}"})
    refers = ["b0", "b1", "b0", "gone", None, "k" * 70_000, "b3", "b2"]
    for number, one in enumerate(refers):
        store.put(product, f"p{number}", {"group": "g", "brandId": one})
    store.put(product, "p8", {"group": "g"})
    by_name = parse_query("group=g&brand.name=Brand 1&select(id,brand{id})")
    assert found(store.engine, product, by_name, tables=catalogue.tables.get) == [
        {"id": "p1", "brand": {"id": "b1"}},
        {"id": "p6", "brand": {"id": "b3"}},
    ]
    every = parse_query("group=g&select(id,brand{id})")
    assert found(store.engine, product, every, tables=catalogue.tables.get) == [
        {"id": f"p{number}"} | ({"brand": {"id": one}} if one in ("b0", "b1", "b2", "b3") else {})
        for number, one in enumerate([*refers, None])
    ]


def test_lists_hold_what_iterating_gives(store: Store) -> None:
    """From where one is, in order, without what was taken already."""
    table = store.table(NOTES)
    for number in range(100):
        store.put(table, f"k{number:02}", {"spare": "x"})
    query = parse_query("select(id)&limit(5,95)")
    whole = found(store.engine, table, query)
    assert whole == [f"k{number:02}" for number in range(5, 95)]
    results = search(store.engine, table, query)
    first = next(one for one in results if one is not PAUSE)
    left = [one for part in results.lists() if isinstance(part, list) for one in part]
    assert [first, *left] == whole


def test_the_gate_is_asked_for_each_value_and_each_list(store: Store) -> None:
    """Who may read no more gets no more, in either way."""
    table = store.table(NOTES)
    for number in range(100):
        store.put(table, f"k{number:02}", {"spare": "x"})

    def closing_after(times: int) -> Any:
        asked = iter([True] * times)

        def gate() -> None:
            if not next(asked, False):
                raise NotAuthorised("no more")

        return gate

    results = search(store.engine, table, Query())
    results.gate = closing_after(3)
    got: list[object] = []
    with pytest.raises(NotAuthorised):
        got.extend(one for one in results if one is not PAUSE)
    results = search(store.engine, table, Query())
    results.gate = closing_after(1)
    lists: list[object] = []
    with pytest.raises(NotAuthorised):
        lists.extend(results.lists())
    assert sum(isinstance(part, list) for part in lists) == 1


def test_ranges_of_keys_are_exact_also_around_long_keys(store: Store) -> None:
    """They are read as they stand, without a further test, where keys are short enough."""
    table = store.table(NOTES)
    long = "k" * 459
    keys = ["a", "a\x01", "a\x01b", "ab", "aé", "b", long[:-1], long, long + "k", long * 2]
    for key in keys:
        store.put(table, key, {"spare": "x"})
    for bound in ("", "a\x00", "a\x00\x00", *keys):
        for comparator, wanted in (
            ("greater_than", [key for key in keys if key > bound]),
            ("greater_than_equal", [key for key in keys if key >= bound]),
            ("less_than", [key for key in keys if key < bound]),
            ("less_than_equal", [key for key in keys if key <= bound]),
            ("starts_with", [key for key in keys if key.startswith(bound)]),
        ):
            query = Query(Condition(("id",), comparator, bound))  # type: ignore[arg-type]  # one of them
            assert ids(store, table, query) == wanted, (comparator, bound)
