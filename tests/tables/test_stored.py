"""Records to stored bytes and back: validation, server-set times, partial decoding."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidRecord
from lyredb.storage.body import unpack_body
from lyredb.storage.layout import IndexSource
from lyredb.storage.metadata import encode_metadata
from lyredb.storage.record import OPAQUE, encode_record
from lyredb.tables.builtin import builtin_tables
from lyredb.tables.computing import register_function
from lyredb.tables.layouts import layout_of, wanted_indexes
from lyredb.tables.sdl import parse_sdl
from lyredb.tables.stored import StoredTable

ALL_TYPES = """
type Thing @table {
  id: ID @primaryKey
  text: String  name: ID  small: Int  long: Long  number: Float  big: BigInt  flag: Boolean
  date: Date  raw: Bytes  raws: [Bytes]  any: Any  numbers: [Float]  whole: [Int!]  place: Place
}
type Place @sealed { city: String! inner: Place }
"""


def stored_table(sdl: str, slot: int = 16) -> StoredTable:
    """The first table of a schema, as the catalogue would make it."""
    schema = parse_sdl(sdl).tables[0]
    slots = {key: slot + number for number, key in enumerate(wanted_indexes(schema))}
    return StoredTable(schema, layout_of(schema, slot, slots))


def stored(table: StoredTable, record: dict[str, object], key: str = "a") -> bytes:
    """A record as the writer stores it, first written at 1,000 ms, now at 2,000 ms."""
    body = table.encode(record, key)
    return encode_record(body, version=2000 << 12, created=1000 << 12, last_seq=1)


def problems(table: StoredTable, record: dict[str, object]) -> tuple[str, ...]:
    """What is wrong with a record."""
    with pytest.raises(InvalidRecord) as caught:
        table.encode(record, "a")
    return caught.value.problems


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("text", "x", "x"), ("name", ["a", "b"], ["a", "b"]), ("small", -(2**31), -(2**31)),
        ("small", 3.0, 3), ("long", 2**53, 2**53), ("number", 1, 1), ("number", 1.5, 1.5),
        ("big", "9" * 300, int("9" * 300)), ("big", 1 - 10**300, 1 - 10**300),
        ("big", -5, -5), ("flag", False, False),
        ("date", "2024-01-05T20:07:27.955Z", datetime(2024, 1, 5, 20, 7, 27, 955000, UTC)),
        ("date", "2024-01-05T22:07:27+02:00", datetime(2024, 1, 5, 20, 7, 27, 0, UTC)),
        ("date", 0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("raw", b"\xff", b"\xff"), ("raw", "é", b"\xc3\xa9"),
        ("raw", {"encoding": "base64", "data": "/wA="}, b"\xff\0"),
        ("raw", {"data": "", "encoding": "base64"}, b""),
        ("raws", [{"encoding": "base64", "data": "/wA="}, "a", b"b"], [b"\xff\0", b"a", b"b"]),
        ("any", {"x": [1]}, {"x": [1]}),
        ("numbers", [1, None, 2.5], [1, None, 2.5]), ("numbers", (), []),
        ("place", {"city": "x", "inner": {"city": "y"}}, {"city": "x", "inner": {"city": "y"}}),
        ("text", None, None), ("undeclared", [{"x": 1}], [{"x": 1}]),
    ],
)  # fmt: skip
def test_values_are_kept_in_their_declared_form(name: str, value: object, kept: object) -> None:
    """What each type accepts and what is read back."""
    table = stored_table(ALL_TYPES)
    assert table.decode("a", stored(table, {name: value})) == {"id": "a", name: kept}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("text", 1, "Property text must be a string (String), got the number 1"),
        ("name", [], "Property name must be a string or a list of strings (ID), got a list"),
        ("small", 2**31, "Property small must be -2147483648 to 2147483647 (Int)"),
        ("small", True, "Property small must be an integer (Int), got true"),
        ("small", 1.5, "Property small must be an integer (Int), got the number 1.5"),
        ("number", "12.5", "Property number must be a number (Float), got the string '12.5'"),
        ("number", False, "Property number must be a number (Float), got false"),
        ("big", 10**300, "Property big must have at most 300 digits (BigInt)"),
        ("big", -(10**300), "Property big must have at most 300 digits (BigInt)"),
        ("big", "1.5", "Property big must be an integer or its digits (BigInt), got the string"),
        ("flag", 0, "Property flag must be true or false (Boolean), got the number 0"),
        ("date", "soon", "Property date must be an ISO 8601 date or epoch milliseconds (Date)"),
        ("date", 1e300, "Property date must be"),
        ("raw", [1], "Property raw must be binary data, a string or {encoding, data} (Bytes)"),
        ("raw", {"encoding": "base64", "data": "/w"}, "Property raw must be binary data"),
        ("raw", {"encoding": "hex", "data": "ff"}, "Property raw must be binary data"),
        ("raw", {"encoding": "base64", "data": "/wA=", "x": 1}, "Property raw must be binary"),
        ("raws", [{"data": "/wA="}], "Property raws[0] must be binary data"),
        ("numbers", 1, "Property numbers must be a list ([Float]), got the number 1"),
        ("numbers", [1, "x"], "Property numbers[1] must be a number (Float), got the string 'x'"),
        ("whole", [1, None], "Property whole[1] is required"),
        ("place", "x", "Property place must be an object (Place), got the string 'x'"),
        ("place", {}, "Property place.city is required"),
        ("place", {"city": "x", "y": 1}, "Property place.y is not allowed"),
        ("place", {"city": "x", "inner": {"city": 1}}, "Property place.inner.city must be"),
    ],
)  # fmt: skip
def test_wrong_types_are_named(name: str, value: object, sentence: str) -> None:
    """There is no coercion; the sentence says what was expected and what came."""
    (problem,) = problems(stored_table(ALL_TYPES), {name: value})
    assert problem.startswith(sentence)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), datetime(2024, 1, 1), {1: 2}, object(), 10**400, "\ud800"],
)
def test_what_no_record_can_hold_is_refused(value: object) -> None:
    """In declared and undeclared attributes alike."""
    for name in ("any", "undeclared"):
        with pytest.raises(InvalidRecord):
            stored_table(ALL_TYPES).encode({name: value}, "a")


def test_deep_values_are_refused_without_recursing_for_ever() -> None:
    """A nested type that contains itself, nested deeper than records may be."""
    value: dict[str, object] = {"city": "x"}
    for _ in range(300):
        value = {"city": "x", "inner": value}
    with pytest.raises(InvalidRecord, match="64 deep"):
        stored_table(ALL_TYPES).encode({"place": value}, "a")


def test_violations_are_joined_in_the_order_of_the_attributes() -> None:
    """A client hears of all of them at once."""
    table = stored_table("type A @table @sealed { id: ID a: Int! b: Int c: Int! d: [Int] }")
    assert problems(table, {"x": 1, "d": ["no"], "c": None, "b": "no"}) == (
        "Property a is required",
        "Property b must be an integer (Int), got the string 'no'",
        "Property c is required",
        "Property d[0] must be an integer (Int), got the string 'no'",
        "Property x is not allowed",
    )


def test_key_and_server_times_of_a_client_are_ignored() -> None:
    """The key is the path's, the times are the writer's, in their declared form."""
    table = stored_table(
        "type A @table @sealed { id: ID made: Date @createdTime at: Long @updatedTime x: Int }"
    )
    found = table.decode("k", stored(table, {"id": "other", "made": 1, "at": 2, "x": 3}, "k"))
    assert found == {
        "id": "k",
        "x": 3,
        "made": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "at": 2000,
    }
    assert next(iter(found)) == "id"


@given(
    record=st.dictionaries(
        st.sampled_from(["a", "b", "at", "id", "x y", "made"]), st.integers() | st.text()
    ),
    names=st.lists(st.sampled_from(["a", "b", "at", "id", "x y", "made", "none"]), unique=True),
)
@settings(max_examples=80)
def test_partial_decoding_agrees_with_whole_decoding(
    record: dict[str, object], names: list[str]
) -> None:
    """The same values, in the order asked for, absent ones left out."""
    table = stored_table("type A @table { id: ID made: Date @createdTime at: Float @updatedTime }")
    data = stored(table, record)
    whole = table.decode("a", data)
    part = table.decode_only("a", data, tuple(names))
    assert part == {name: whole[name] for name in names if name in whole}
    assert list(part) == [name for name in names if name in whole]


def test_a_patch_is_validated_without_asking_for_the_rest() -> None:
    """Required attributes may be missing in changes, but not become null."""
    table = stored_table("type A @table @sealed { id: ID a: Int! b: String n: Int f: Float }")
    body, operations = table.encode_changes(
        {
            "id": "x",
            "b": None,
            "n": {"__op__": "add", "value": 2.0},
            "f": {"__op__": "add", "value": 0.5},
        }
    )
    assert unpack_body(body) == {"b": None}
    assert unpack_body(operations) == {"n": 2, "f": 0.5}
    with pytest.raises(InvalidRecord) as caught:
        table.encode_changes({"a": None, "b": 1, "z": 1})
    assert [one.split(" ")[1] for one in caught.value.problems] == ["a", "b", "z"]


@pytest.mark.parametrize(
    ("name", "operation", "sentence"),
    [
        ("n", {"__op__": "sub", "value": 1}, "the operation must be 'add'"),
        ("n", {"__op__": "add"}, "what is added must be a number, got null"),
        ("n", {"__op__": "add", "value": True}, "what is added must be a number, got true"),
        ("n", {"__op__": "add", "value": 0.5}, "is an integer"),
        ("b", {"__op__": "add", "value": 1}, "it is no number"),
        ("id", {"__op__": "add", "value": 1}, "it is the key or set by the server"),
        ("z", {"__op__": "add", "value": 1}, "Property z is not allowed"),
    ],
)
def test_increments_need_numbers(name: str, operation: object, sentence: str) -> None:
    """What cannot be added to is refused before it reaches the writer."""
    table = stored_table("type A @table @sealed { id: ID b: String n: Int }")
    with pytest.raises(InvalidRecord, match=sentence):
        table.encode_changes({name: operation})


@pytest.mark.parametrize(
    ("payload", "content_type", "value"),
    [
        (b"21.5", "", {"id": "a", "data": "21.5"}),
        (b"\xff", "image/png", {"id": "a", "contentType": "image/png", "data": b"\xff"}),
    ],
)
def test_opaque_records_read_as_key_content_type_and_data(
    payload: bytes, content_type: str, value: dict[str, object]
) -> None:
    """The key first, as a listing needs it; the payload as text when it is UTF-8."""
    metadata = encode_metadata(content_type=content_type)
    data = encode_record(payload, version=1, last_seq=1, flags=OPAQUE, metadata=metadata)
    table = stored_table("type A @table { id: ID }")
    assert list(table.decode("a", data).items()) == list(value.items())
    assert table.decode_only("a", data, ("data", "id")) == {"data": value["data"], "id": "a"}


def test_list_keys_read_as_lists() -> None:
    """As every format gives them."""
    table = stored_table("type A @table { id: ID }")
    data = stored(table, {"x": 1})
    assert table.decode(("a", "b"), data) == {"id": ["a", "b"], "x": 1}
    assert table.decode_only(("a", "b"), data, ("id",)) == {"id": ["a", "b"]}
    assert table.key_to_text(("a", "b")) == "a/b"


_any_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**320), 10**320)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.datetimes()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["city", "inner", "__op__", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)
_names = st.sampled_from(
    ("text", "name", "small", "long", "number", "big", "flag", "date", "raw", "any", "numbers",
     "whole", "place", "undeclared", "id")
)  # fmt: skip


@given(record=st.dictionaries(_names, _any_values, max_size=5))
@settings(max_examples=300)
def test_any_record_is_stored_or_invalid(record: dict[str, object]) -> None:
    """No other error; and what was stored is valid again, and stays as it is."""
    table = stored_table(ALL_TYPES)
    try:
        first = stored(table, record)
    except InvalidRecord:
        return
    decoded = table.decode("a", first)
    assert decoded.keys() == record.keys() | {"id"}
    assert table.decode("a", stored(table, decoded)) == decoded


@given(changes=st.dictionaries(_names, _any_values, max_size=4))
@settings(max_examples=150)
def test_any_patch_is_taken_or_invalid(changes: dict[str, object]) -> None:
    """No other error."""
    try:
        stored_table(ALL_TYPES).encode_changes(changes)
    except InvalidRecord:
        pass


def test_builtin_tables_have_their_slots() -> None:
    """They are in the stored formats and never change."""
    assert {table.slot: table.name for table in builtin_tables()} == {
        0: "system.user",
        1: "system.role",
        2: "system.session",
        3: "data.Topic",
    }
    assert [table.is_open_topics for table in builtin_tables()] == [False, False, False, True]


COMPUTED = """
type Product @table @sealed {
  id: ID @primaryKey
  price: Float! @indexed
  brandId: ID
  gone: Date @expiresAt
  brand: Product @relationship(from: brandId) @enumerable
  taxed: Float @computed(from: "price * 2") @enumerable @indexed
  shown: String @computed(from: "f'{id}: {price} {at}'")
  label: String @computed @enumerable
  at: Long @updatedTime
}
"""


def test_computed_attributes_are_made_when_they_are_read() -> None:
    """Enumerable ones in whole records, others when they are asked for; never relations."""
    table = stored_table(COMPUTED)
    row = stored(table, {"price": 3})
    assert table.decode("a", row) == {"id": "a", "price": 3, "at": 2000, "taxed": 6}
    assert table.decode_only("a", row, ("taxed",)) == {"taxed": 6}
    assert list(table.decode_only("a", row, ("shown", "brand", "id"))) == ["shown", "id"]
    assert table.decode_only("a", row, ("shown",)) == {"shown": "a: 3 2000"}
    assert unpack_body(table.encode({"price": 3}, "a")) == {"price": 3}


def test_a_function_of_code_makes_an_attribute(caplog: pytest.LogCaptureFixture) -> None:
    """Without one the attribute is absent; its mistakes are logged and make null."""
    table = stored_table(COMPUTED.replace("Product", "Labelled"))
    row = stored(table, {"price": 3})
    assert "label" not in table.decode("a", row)
    register_function("data.Labelled", "label", lambda record: f"{record['id']}-{record['at']}")
    assert table.decode("a", row)["label"] == "a-2000"
    assert table.decode_only("a", row, ("label", "price")) == {"label": "a-2000", "price": 3}
    register_function("data.Labelled", "label", lambda record: record["nothing"])
    assert table.decode("a", row)["label"] is None
    assert "computing data.Labelled.label failed" in caplog.text


@pytest.mark.parametrize("name", ["brand", "taxed", "label"])
@pytest.mark.parametrize("value", [1, None, {"__op__": "add", "value": 1}])
def test_what_is_not_stored_may_not_be_assigned(name: str, value: object) -> None:
    """Neither null, in a whole record as in a patch; other violations are told beside."""
    table = stored_table(COMPUTED)
    sentence = f"Computed property {name} may not be directly assigned a value"
    assert problems(table, {name: value, "x": 1}) == (
        "Property price is required", sentence, "Property x is not allowed",
    )  # fmt: skip
    with pytest.raises(InvalidRecord) as caught:
        table.encode_changes({name: value})
    assert caught.value.problems == (sentence,)


def test_a_deadline_is_an_attribute_of_the_body() -> None:
    """It is checked and kept as others; the layout says where it is."""
    table = stored_table(COMPUTED)
    date = datetime(2030, 1, 1, tzinfo=UTC)
    body = unpack_body(table.encode({"price": 1, "gone": "2030-01-01T00:00:00Z"}, "a"))
    assert body == {"price": 1, "gone": date}
    assert table.layout.expires_from == "gone"
    assert table.layout.sealed == frozenset(("price", "brandId", "gone"))
    assert table.layout.required == {"price"}
    assert problems(table, {"price": 1, "gone": "soon"})[0].startswith("Property gone must be")


def test_the_layout_says_what_is_indexed_and_by_what() -> None:
    """Another expression or version makes another index; deadlines have one of their own."""
    table = stored_table(COMPUTED)
    of_price, of_taxed, of_deadlines = table.layout.indexes
    assert of_price.source is IndexSource.BODY
    assert (of_taxed.path, of_taxed.source) == (("taxed",), IndexSource.COMPUTED)
    assert (of_taxed.expression, of_taxed.version) == ("price * 2", "price * 2")
    assert (of_deadlines.path, of_deadlines.source) == ((), IndexSource.EXPIRES)
    again = parse_sdl(COMPUTED.replace('price * 2"', 'price * 2", version: 2')).tables[0]
    assert wanted_indexes(again)[1] != wanted_indexes(table.schema)[1]


def test_values_that_may_be_files_are_found_at_any_depth() -> None:
    """Directly, in lists and in nested types, which may contain themselves."""
    table = stored_table(
        "type T @table { a: Blob b: [[Blob]] c: N d: P e: Bytes } "
        "type N { inner: N part: [P] } type P { data: Blob }"
    )
    assert table.layout.blobs == ("a", "b", "c", "d")
    assert stored_table("type T @table { c: N } type N { x: N }").layout.blobs == ()
    assert unpack_body(table.encode({"a": "text"}, "a")) == {"a": "text"}
    packed = {"contentType": "application/octet-stream", "data": b"\xff"}
    assert unpack_body(table.encode({"a": b"\xff"}, "a")) == {"a": packed}
    assert problems(table, {"a": 1}) == (
        "Property a must be text, binary data or {contentType, data} (Blob), got the number 1",
    )
