"""Finding records: forms of conditions, URL queries, plans, results."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidQuery, UnknownAttribute
from lyredb.formats import PAUSE
from lyredb.storage.mutation import Kind, Mutation
from lyredb.tables.query.execute import explain, search
from lyredb.tables.query.parse_object import read_where
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.query.terms import Query, Select, Selected
from lyredb.tables.stored import StoredTable
from tests.tables.conftest import Store
from tests.tables.conftest import found as found_in

SENSORS = """
type Sensor @table {
  id: ID @primaryKey
  site: String @indexed
  tags: [String] @indexed
  value: Float
  count: Int @indexed
  when: Date @indexed
  ok: Boolean
  any: Any @indexed
  made: Date @createdTime
  at: Long @updatedTime @indexed
}
"""


def ids(store: Store, table: StoredTable, query: str | Query, prefix: str = "") -> list[object]:
    """The keys of what a query finds."""
    parsed = parse_query(query) if isinstance(query, str) else query
    one = replace(parsed, select=Select((Selected("$id"),), "values"))
    return found_in(store.engine, table, one, prefix=prefix)


@pytest.fixture
def sensors(store: Store) -> StoredTable:
    """Some sensors with values of each kind."""
    table = store.table(SENSORS)
    store.put(table, "a", {"site": "north", "tags": ["x", "y"], "value": 1, "count": 1})
    store.put(table, "b/1", {"site": "north", "tags": [], "value": 1.5, "ok": True, "any": 1})
    store.put(table, "b/2", {"site": None, "tags": ["y"], "any": "1", "count": 2})
    store.now_ms += 1000
    store.put(table, "c", {"site": "null", "any": True, "when": "2024-01-05T20:07:27Z", "more": 7})
    return table


@pytest.mark.parametrize(
    ("text", "found", "access"),
    [
        ("", ["a", "b/1", "b/2", "c"], "scan"),
        ("site=north", ["a", "b/1"], "index"),
        ("site==north&value==1", ["a"], "index"),
        ("value==1&site=north", ["a"], "index"),
        ("value=1", ["a"], "scan"),
        ("value==1.0", ["a"], "scan"),
        ("tags=y", ["a", "b/2"], "index"),
        ("site=null", ["c"], "index"),
        ("site==null", ["b/2"], "index"),
        ("value==null", [], "scan"),
        ("value=", [], "scan"),
        ("ok=true", ["b/1"], "scan"),
        ("any==1", ["b/1"], "index"),
        ("any=1", ["b/2"], "index"),
        ("any==string:1", ["b/2"], "index"),
        ("any==true", ["c"], "index"),
        ("any==number:$1", ["b/1"], "index"),
        ("when=2024-01-05T20%3A07%3A27Z", ["c"], "index"),
        ("when=2024-01-05T20:07:27", ["c"], "index"),
        ("when==date:1704485247000", ["c"], "index"),
        ("at==1700000001000", ["c"], "index"),
        ("made==2023-11-14T22%3A13%3A20Z", ["a", "b/1", "b/2"], "scan"),
        ("id=b/1", ["b/1"], "key"),
        ("id=b/1&site=south", [], "key"),
        ("site=north&id=c", [], "key"),
        ("id=%23", [], "nothing"),
        ("more==7", ["c"], "scan"),
        ("more=7", [], "scan"),
        ("nothing==null", [], "scan"),
        ("limit(2)", ["a", "b/1"], "scan"),
        ("limit(1,3)", ["b/1", "b/2"], "scan"),
        ("site=north&limit(1,9)", ["b/1"], "index"),
        ("limit(0)", [], "scan"),
    ],
)
def test_equality_finds(
    store: Store, sensors: StoredTable, text: str, found: list[str], access: str
) -> None:
    """Typed values by the conventions; the index is used where there is one."""
    assert ids(store, sensors, text) == found
    assert explain(store.engine, sensors, parse_query(text))["access"] == access


@pytest.mark.parametrize(
    "text",
    ["count=1.5", "count==x", "value=x", "value==1e999", "ok=1", "when=soon", "at=soon",
     "any==number:x", "any==numberx:1", "any==boolean:1", "any==date:x"],
)  # fmt: skip
def test_a_value_that_the_attribute_cannot_have_is_refused(
    store: Store, sensors: StoredTable, text: str
) -> None:
    """At once, before anything is read."""
    with pytest.raises(InvalidQuery):
        search(store.engine, sensors, parse_query(text))


def test_conditions_from_code_are_typed_values(store: Store, sensors: StoredTable) -> None:
    """True is not 1, a date may be a date, a string is no number."""
    when = datetime(2024, 1, 5, 20, 7, 27, tzinfo=UTC)
    assert ids(store, sensors, Query(read_where(("any", True)))) == ["c"]
    assert ids(store, sensors, Query(read_where(("any", 1)))) == ["b/1"]
    assert ids(store, sensors, Query(read_where(("when", when)))) == ["c"]
    assert ids(store, sensors, Query(read_where(("tags", ["x", "y"])))) == ["a"]
    assert ids(
        store, sensors, Query(read_where(("at", datetime(2023, 11, 14, 22, 13, 21, tzinfo=UTC))))
    ) == ["c"]
    with pytest.raises(InvalidQuery, match="Invalid value for attribute value"):
        ids(store, sensors, Query(read_where(("value", "1"))))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("select(id)", ["a", "b/1"]),
        ("select(count)", [1, None]),
        ("select(count,)", [{"count": 1}, {}]),
        ("select(value,id)", [{"value": 1, "id": "a"}, {"value": 1.5, "id": "b/1"}]),
        ("select([count,id])", [[1, "a"], [None, "b/1"]]),
        ("select($updatedtime)", [1_700_000_000_000] * 2),
        ("select($id,at)", [{"$id": one, "at": 1_700_000_000_000} for one in ("a", "b/1")]),
    ],
)  # fmt: skip
def test_select_shapes_what_is_returned(
    store: Store, sensors: StoredTable, text: str, found: list[object]
) -> None:
    """Values, objects without absent attributes, arrays with null for them."""
    assert found_in(store.engine, sensors, parse_query(f"{text}&limit(2)")) == found


def test_values_that_the_index_cuts_are_told_apart(store: Store) -> None:
    """Two long texts with the same beginning are two values."""
    table = store.table(SENSORS)
    begin = "x" * 600
    store.put(table, "a", {"site": begin + "a"})
    store.put(table, "b", {"site": begin + "b"})
    assert ids(store, table, Query(read_where(("site", begin + "b")))) == ["b"]


def test_a_prefix_is_a_part_of_the_table(store: Store, sensors: StoredTable) -> None:
    """A collection below a path, alone and together with conditions."""
    assert ids(store, sensors, "", prefix="b/") == ["b/1", "b/2"]
    assert ids(store, sensors, "site=north", prefix="b/") == ["b/1"]
    assert ids(store, sensors, "id=a", prefix="b/") == []
    long = "l" * 900 + "/"
    store.put(sensors, long + "x", {})
    assert ids(store, sensors, "", prefix=long) == [long + "x"]
    assert ids(store, sensors, "", prefix="l" * 899 + "/") == []


def test_sealed_tables_know_all_their_attributes(store: Store) -> None:
    """A misspelt name is not an empty result."""
    table = store.table("type A @table @sealed { id: ID value: Float }")
    for text in ("valuex=1", "select(valuex)"):
        with pytest.raises(UnknownAttribute, match=r"did you mean value\?"):
            search(store.engine, table, parse_query(text))
    assert found_in(store.engine, table, parse_query("value=1&select(id,$id)")) == []


def test_undeclared_keys_are_found_as_text_and_as_number(store: Store) -> None:
    """As they are in paths."""
    table = store.table("type A @table { x: Int }")
    store.put(table, 7, {"x": 1})
    assert ids(store, table, "id=7") == ids(store, table, "id==7") == [7]
    assert ids(store, table, Query(read_where(("id", 7)))) == [7]


def test_a_search_that_finds_little_lets_others_have_a_turn(store: Store) -> None:
    """A scan of a million records with no result must not keep the loop for itself."""
    table = store.table(SENSORS)
    body = table.encode({"any": 1}, "")
    keys = [f"k{number:05}" for number in range(20_000)]
    store.write(*(Mutation(table.slot, table.encode_key(key), Kind.PUT, body) for key in keys))
    found = list(search(store.engine, table, parse_query("undeclared==2")))
    assert found
    assert set(found) == {PAUSE}


_values = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from((0.5, "", "1", "true"))


_records = st.fixed_dictionaries({}, optional={"any": _values | st.lists(_values, max_size=2)})


@given(records=st.lists(_records, max_size=6), wanted=_values)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_index_finds_what_a_scan_finds(
    store: Store, records: list[dict[str, object]], wanted: object
) -> None:
    """One meaning of equality, whether an index helps or not."""
    table = store.table(SENSORS)
    plain = store.catalogue.tables["data.Sensor"]
    for number in range(6):
        store.write(Mutation(table.slot, table.encode_key(f"k{number}"), Kind.DELETE))
    for number, record in enumerate(records):
        store.put(table, f"k{number}", record)
    by_index = ids(store, plain, Query(read_where(("any", wanted))))
    everything = found_in(store.engine, table, Query())
    assert by_index == [record["id"] for record in everything if _has(record, wanted)]


def _has(record: object, wanted: object) -> bool:
    assert isinstance(record, dict)
    if "any" not in record:
        return False
    value = record["any"]
    elements = value if isinstance(value, list) else [value]
    return any(
        one == wanted and isinstance(one, bool) == isinstance(wanted, bool) for one in elements
    )


def test_text_from_urls_is_decoded_once(store: Store) -> None:
    """Percent signs and special characters of a value arrive as they are."""
    table = store.table("type A @table { id: ID name: String @indexed }")
    for number, name in enumerate(("100%25", "a&b=c", "ü/(x)", "limit(1)", " ")):
        store.put(table, f"k{number}", {"name": name})
        assert ids(store, table, f"name={quote(name)}") == [f"k{number}"]
