"""Conditions and relations about keys: of undeclared type, and of several segments."""

from __future__ import annotations

import pytest

from lyredb.storage.keys import KeyValue
from lyredb.tables.query.parse_object import read_query
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.stored import StoredTable
from tests.tables.conftest import Store
from tests.tables.conftest import found as found_in

FREE = "type T @table { id: Any @primaryKey  v: Int }"
SPLIT = """
type T @table @splitSegments {{
  id: ID @primaryKey
  v: Int
  ref: ID {index}
  refs: [ID] {index}
  up: T @relationship(from: ref)
  ups: [T] @relationship(from: refs)
  downs: [T] @relationship(to: ref)
  all: [T] @relationship(to: refs)
}}
"""


def found(store: Store, table: StoredTable, text: str) -> list[object]:
    """What the query of a URL finds."""
    query = parse_query(f"{text}&select($id)")
    return found_in(store.engine, table, query, tables=store.catalogue.tables.get)


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("id==1", [1]),
        ("id==string:1", [1]),
        ("id==number:1", [1]),
        ("id=in=1,number:2,01", [1, 2, "01"]),
        ("id=gt=0", [1, 2, 10]),
        ("id=gt=number:1", [2, 10]),
        ("id=le=2", [-5, 1, 2]),
        ("id=bt=1,2", [1, 2]),
        ("id=gt=1.5", ["a"]),
        ("id=lt=1.6", ["01", "1.5"]),
    ],
)
def test_a_free_key_is_the_number_that_its_text_is(
    store: Store, text: str, keys: list[KeyValue]
) -> None:
    """In ranges as in equality and in paths, from URLs and from objects."""
    table = store.table(FREE)
    for key in (-5, 1, 2, 10, "01", "1.5", "a"):
        store.put(table, key, {"v": 1})
    assert found(store, table, text) == keys


def test_a_free_key_is_a_number_in_objects_too(store: Store) -> None:
    """Its text in JSON is what its text in a path is."""
    table = store.table(FREE)
    for key in (1, 2, "a"):
        store.put(table, key, {})
    query = read_query(
        {"conditions": [{"attribute": "id", "comparator": "gt", "value": "1"}], "select": "$id"}
    )
    assert found_in(store.engine, table, query) == [2]


@pytest.mark.parametrize(
    ("key_type", "text", "keys"),
    [
        ("ID", "id=pf=1", [("1", "2"), ("1", "2", "3")]),
        ("ID", "id=pf=1,2", [("1", "2"), ("1", "2", "3")]),
        ("ID", "id=pf=1,2,3", [("1", "2", "3")]),
        ("Any", "id=pf=1", [(1, 2), (1, 2, 3)]),
        ("Any", "id=pf=number:1,string:2", [(1, 2), (1, 2, 3)]),
    ],
)
def test_a_prefix_is_read_by_the_type_of_the_key(
    store: Store, key_type: str, text: str, keys: list[KeyValue]
) -> None:
    """Digits are segments of text where the key is text."""
    table = store.table(f"type T @table @splitSegments {{ id: {key_type} @primaryKey }}")
    for key in ("1", "1/2", "1/2/3", "01/2", "a/1"):
        store.put(table, table.check_key(key), {})  # type: ignore[arg-type]  # lists, too
    assert list(map(_plain, found(store, table, text))) == keys


@pytest.mark.parametrize("index", ["", "@indexed"])
def test_a_key_of_several_segments_is_joined_by_its_text(store: Store, index: str) -> None:
    """What a select shows of a relation is what a condition on it finds, both ways."""
    table = store.table(SPLIT.format(index=index))
    store.put(table, table.check_key("a/b"), {"v": 1})  # type: ignore[arg-type]  # a list
    store.put(table, "a", {"v": 2})
    store.put(table, "x", {"ref": "a/b", "refs": ["a", "a/b"]})
    store.put(table, "y", {"ref": ["a", "a/b"]})
    assert found(store, table, "up.v=1") == ["x", "y"]
    assert found(store, table, "ups.v=1") == ["x"]
    assert list(map(_plain, found(store, table, "downs.id=x"))) == [("a", "b")]
    assert list(map(_plain, found(store, table, "downs.id=y"))) == ["a", ("a", "b")]
    assert list(map(_plain, found(store, table, "all.id=x"))) == ["a", ("a", "b")]
    query = parse_query("id=in=a/b&select(downs(id),all(id))")
    (one,) = found_in(store.engine, table, query, tables=store.catalogue.tables.get)
    assert one == {"downs": ["x", "y"], "all": ["x"]}


def _plain(key: object) -> object:
    return tuple(key) if isinstance(key, list) else key
