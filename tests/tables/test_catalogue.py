"""The store follows the schema: slots, indexes, rows; and never loses data."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings

from lyredb.errors import FormatMismatch, IndexRebuilding, InvalidRecord, SchemaError
from lyredb.storage.check import check
from lyredb.storage.layout import TOPIC_SLOT, IndexSource
from lyredb.storage.mutation import Kind, Mutation
from lyredb.tables.catalogue import Catalogue
from lyredb.tables.evolution import decode_schema_row, encode_schema_row
from lyredb.tables.query.execute import explain
from lyredb.tables.query.parse_object import read_where
from lyredb.tables.query.terms import Query
from lyredb.tables.schema import Schema
from tests.tables.conftest import Store
from tests.tables.conftest import found as found_in
from tests.tables.schemas import schemas

FIRST = "type A @table @export { id: ID a: Int @indexed b: Int } type B @table { id: ID }"
BY_A = Query(read_where(("a", 1)))
BY_B = Query(read_where(("b", 1)))


def test_tables_get_slots_that_survive(store: Store) -> None:
    """A table keeps its slot whatever comes before it in a later schema."""
    catalogue = store.tables(FIRST)
    slots = {table.name: table.slot for table in catalogue.tables.values()}
    assert slots == {
        "system.user": 0, "system.role": 1, "system.session": 2, "data.Topic": 3,
        "data.A": 16, "data.B": 17,
    }  # fmt: skip
    store.reopen()
    later = store.tables("type C @table { id: ID } " + FIRST)
    assert later.tables["data.A"].slot == 16
    assert later.tables["data.C"].slot == 18
    assert later.by_slot[16] is later.tables["data.A"]


def test_the_same_schema_again_writes_nothing(store: Store) -> None:
    """A restart leaves no entry in the log."""
    store.tables(FIRST)
    position = store.engine.position
    store.reopen()
    store.tables(FIRST)
    assert store.engine.position == position


def test_reading_gives_the_same_tables_and_writes_nothing(store: Store) -> None:
    """A process beside the writer sees what the writer has made, undeclared tables too."""
    store.tables(FIRST)
    opened = store.tables("type B @table { id: ID }")
    position = store.engine.position
    read = Catalogue.read(store.engine)
    assert {name: (table.schema, table.layout) for name, table in read.tables.items()} == {
        name: (table.schema, table.layout) for name, table in opened.tables.items()
    }
    assert store.engine.position == position


def test_each_change_is_a_schema_entry(store: Store) -> None:
    """Whoever follows the log learns of the tables that changed, and of no others."""
    store.tables(FIRST)
    position = store.engine.position
    store.tables(FIRST.replace("b: Int", "b: Float"))
    with store.engine.snapshot() as snapshot:
        entries = snapshot.entries(position)
    assert [(entry.kind, entry.key) for entry in entries] == [(Kind.SCHEMA, b"table/data.A")]


def test_a_table_that_is_declared_no_more_stays_but_is_not_exported(store: Store) -> None:
    """Data is never deleted by a schema."""
    table = store.table(FIRST)
    store.put(table, "x", {"a": 1})
    store.reopen()
    kept = store.tables("type B @table { id: ID }").tables["data.A"]
    assert kept.schema.export is None
    assert found_in(store.engine, kept, BY_A) == [{"id": "x", "a": 1}]
    store.reopen()
    assert store.table(FIRST).schema.export is not None


def test_an_added_index_is_built_from_what_is_there(store: Store) -> None:
    """And finds records that were written before and after."""
    table = store.table(FIRST)
    for number in range(2500):
        store.put(table, f"k{number}", {"b": number % 500})
    store.reopen()
    table = store.table(FIRST.replace("b: Int", "b: Int @indexed"))
    while store.engine.building:  # on a slow machine not at once
        store.writer.maintenance.builds.step()
    store.put(table, "later", {"b": 1})
    assert explain(store.engine, table, BY_B)["access"] == "index"
    found = {record["id"] for record in found_in(store.engine, table, BY_B)}
    assert found == {"k1", "k501", "k1001", "k1501", "k2001", "later"}


def test_a_removed_index_is_used_no_more_and_its_slot_is_free(store: Store) -> None:
    """The condition filters a scan then, with the same result."""
    table = store.table(FIRST)
    store.put(table, "x", {"a": 1})
    table = store.table(FIRST.replace("@indexed ", ""))
    assert explain(store.engine, table, BY_A)["access"] == "scan"
    assert found_in(store.engine, table, BY_A) == [{"id": "x", "a": 1}]
    assert store.engine.allocate_slots(indexes=1).indexes == (17,)  # the others: of deadlines


def test_every_table_that_takes_messages_gets_an_index_of_deadlines(store: Store) -> None:
    """One of an earlier version at its next start, though it is declared no more by then."""
    store.tables(FIRST)
    for layout in list(store.engine.layouts.values()):
        of_before = [one for one in layout.indexes if one.source is not IndexSource.EXPIRES]
        store.engine.define_table(replace(layout, indexes=tuple(of_before)))
    key = b"\x30a"
    topic = Mutation(TOPIC_SLOT, key, Kind.PUT, b"x", opaque=True, expires_ms=1)
    store.write(topic, Mutation(16, key, Kind.PUT, b"\x80", expires_ms=1))
    assert "data.A" in Catalogue.read(store.engine).tables
    store.reopen()
    store.tables("type B @table { id: ID }")
    slots = {
        layout.name: index.slot
        for layout in store.engine.layouts.values()
        for index in layout.indexes
        if index.source is IndexSource.EXPIRES
    }
    assert slots.keys() == {"data.Topic", "data.A", "data.B"}
    with store.engine.snapshot() as snapshot:
        assert {name: len(list(snapshot.scan_index(slot))) for name, slot in slots.items()} == {
            "data.Topic": 1, "data.A": 1, "data.B": 0
        }  # fmt: skip
    assert check(store.engine) == []


def test_an_interrupted_build_is_finished_at_the_next_open(store: Store) -> None:
    """An index that is not complete is never used."""
    table = store.table(FIRST)
    for number in range(1500):
        store.put(table, f"k{number}", {"b": 1})
    layouts = store.table(FIRST.replace("b: Int", "b: Int @indexed")).layout
    store.engine.define_table(table.layout)
    store.engine.define_table(layouts)
    next(store.engine.build_index(layouts, layouts.indexes[1]))
    with pytest.raises(IndexRebuilding):
        explain(store.engine, store.catalogue.tables["data.A"], BY_B)
    store.reopen()
    table = store.table(FIRST.replace("b: Int", "b: Int @indexed"))
    assert explain(store.engine, table, BY_B)["access"] == "index"
    found = found_in(store.engine, table, BY_B)
    assert len(found) == 1500


@given(schema=schemas())
@settings(max_examples=40)
def test_schema_rows_give_back_the_schema(schema: Schema) -> None:
    """Everything that was declared is in the row."""
    for table in schema.tables:
        assert decode_schema_row(encode_schema_row(table)) == table


def test_a_row_of_a_later_version_is_refused() -> None:
    """Better than to serve a table as something that it is not."""
    with pytest.raises(FormatMismatch):
        decode_schema_row(b"\x81\xa4name\x01")


@pytest.mark.parametrize(
    ("before", "after", "keys"),
    [
        ("id: ID", "name: ID @primaryKey", r"id \(ID\) to name \(ID\)"),
        ("id: ID", "id: Int", r"id \(ID\) to id \(Int\)"),
        ("id: ID", "a: Int", r"id \(ID\) to id \(Any\)"),
        ("a: Int", "id: String", r"id \(Any\) to id \(String\)"),
    ],
)
def test_the_key_of_records_cannot_change(store: Store, before: str, after: str, keys: str) -> None:
    """Every record would have a wrong key; the message says from what to what, and the way out."""
    table = store.table(f"type A @table {{ {before} b: Int }}")
    store.put(table, "x", {"b": 1})
    store.reopen()
    with pytest.raises(SchemaError, match=f"data.A has 1 records.*{keys}.*new table"):
        store.tables(f"type A @table {{ {after} b: Int }}")
    kept = store.table(f"type A @table {{ {before} b: Int }}")
    assert kept.encode_key("x") == table.encode_key("x")


def test_a_key_may_change_while_no_record_has_one(store: Store) -> None:
    """An empty table is nothing that could become wrong, whatever it held before."""
    table = store.table("type A @table { id: ID b: Int }")
    store.put(table, "x", {"b": 1})
    store.write(Mutation(table.slot, table.encode_key("x"), Kind.DELETE))
    store.reopen()
    changed = store.table("type A @table { number: Int @primaryKey b: Int }")
    store.put(changed, 7, {"b": 1})
    assert found_in(store.engine, changed, BY_B) == [{"number": 7, "b": 1}]


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [("ID", "String", "7"), ("String", "ID", "a/b"), ("Int", "Long", 7), ("Long", "Any", -(2**53))],
)
def test_a_key_type_may_change_where_every_key_stays(
    store: Store, before: str, after: str, key: str | int
) -> None:
    """Found as before by what it was written with."""
    table = store.table(f"type A @table {{ id: {before} b: Int }}")
    store.put(table, key, {"b": 1})
    store.reopen()
    changed = store.table(f"type A @table {{ id: {after} b: Int }}")
    assert changed.encode_key(key) == table.encode_key(key)
    assert found_in(store.engine, changed, BY_B) == [{"id": key, "b": 1}]


def test_a_schema_with_too_many_tables_is_refused_before_anything_is_made(store: Store) -> None:
    """With numbers; and the store goes on with what it had."""
    store.tables(FIRST)
    many = "".join(f"type T{number} @table {{ id: ID a: Int @indexed }} " for number in range(300))
    with pytest.raises(SchemaError, match=r"304 tables .* 601 indexes.* 2 tables with 3 .* 893"):
        store.tables(many)
    assert "data.T0" not in {layout.name for layout in store.engine.layouts.values()}
    table = store.table(FIRST)
    store.put(table, "x", {"a": 1})


@pytest.mark.parametrize(
    ("type_name", "greatest"), [("Int", 2**31 - 1), ("Long", 2**53), ("BigInt", 10**300 - 1)]
)
def test_what_is_added_must_leave_the_attribute_its_type(
    store: Store, type_name: str, greatest: int
) -> None:
    """The largest value can be reached by adding, and nothing beyond it."""
    table = store.table(f"type A @table {{ id: ID n: {type_name} free: Float }}")
    store.put(table, "x", {"n": greatest - 1})
    key = table.encode_key("x")

    def add_one(name: str) -> Mutation:
        body, amounts = table.encode_changes({name: {"__op__": "add", "value": 1}})
        return Mutation(table.slot, key, Kind.PATCH, body, operations=amounts)

    store.write(add_one("n"), add_one("free"))
    results: list[object] = []
    store.writer.submit([add_one("n")], results.append)
    store.writer.commit_now()
    assert isinstance(results[0], InvalidRecord)
    assert found_in(store.engine, table, Query()) == [{"id": "x", "n": greatest, "free": 1}]
