"""Values and keys of every declared type, through the store, its order and every format."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.formats.negotiation import body_format
from lyredb.storage.body import unpack_body
from lyredb.storage.keys import decode_key, encode_index_value
from lyredb.storage.record import encode_record
from lyredb.tables.keys import KeyRules, key_text
from lyredb.tables.schema import SCALARS
from tests.tables.test_stored import stored_table

SDL = """
type Thing @table @sealed {
  id: ID @primaryKey
  vID: ID vString: String vInt: Int vLong: Long vFloat: Float vBigInt: BigInt vBoolean: Boolean
  vDate: Date vBytes: Bytes vBlob: Blob vAny: Any vList: [[BigInt!]] part: Part
}
type Part @sealed { name: String! inner: Part when: Date }
"""
TABLE = stored_table(SDL)
FORMATS = ("application/json", "application/x-ndjson", "application/cbor", "application/x-msgpack")

_text = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
_dates = st.datetimes(
    min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)
)
_big = st.integers(1 - 10**300, 10**300 - 1) | st.integers(-(2**70), 2**70)
_floats = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "ID": _text | st.lists(_text, min_size=1, max_size=3),
    "String": _text,
    "Int": st.integers(-(2**31), 2**31 - 1),
    "Long": st.integers(-(2**53), 2**53),
    "Float": _floats,
    "BigInt": _big,
    "Boolean": st.booleans(),
    "Date": _dates,
    "Bytes": st.binary(max_size=8),
    "Blob": _text | st.binary(max_size=8),
    "Any": _text | _floats | st.booleans() | st.lists(_text, max_size=2),
}
_parts = st.recursive(
    st.fixed_dictionaries({"name": _text}, optional={"when": _dates}),
    lambda inner: st.fixed_dictionaries({"name": _text, "inner": inner}),
    max_leaves=3,
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        **{f"v{name}": st.none() | values for name, values in VALUES.items()},
        "vList": st.lists(st.lists(_big, max_size=2), max_size=2),
        "part": _parts,
    },
)


def test_there_are_values_of_every_scalar() -> None:
    """Whoever adds a type adds it here."""
    assert set(VALUES) == set(SCALARS)


def _holds_bytes(record: dict[str, object]) -> bool:
    return any(isinstance(value, bytes) for value in record.values())


@pytest.mark.parametrize("media_type", FORMATS)
@given(record=RECORDS)
@settings(max_examples=60)
def test_a_record_is_the_same_after_every_format(
    media_type: str, record: dict[str, object]
) -> None:
    """Written, read, sent, and written back by a client: the same stored values.

    Binary data is base64 text in JSON, and text from a client is its UTF-8; so it
    does not come back there, and only there.
    """
    form = body_format(media_type)
    assert form is not None
    body = TABLE.encode(record, "a")
    row = encode_record(body, version=1 << 12, last_seq=1)
    shown = TABLE.decode("a", row)
    again = form.decode(form.encode(shown))
    if isinstance(again, list):
        (again,) = again  # NDJSON: one line is a list of one
    assert isinstance(again, dict)
    if _holds_bytes(record) and "json" in media_type:
        return
    assert unpack_body(TABLE.encode(again, "a")) == unpack_body(body)


@pytest.mark.parametrize("name", sorted(set(SCALARS) - {"ID", "Blob", "Any"}))
@given(data=st.data())
@settings(max_examples=60)
def test_values_of_a_type_are_in_their_order_in_an_index(name: str, data: st.DataObject) -> None:
    """Of booleans false is first; text and bytes are in the order of their bytes."""
    left, right = data.draw(VALUES[name]), data.draw(VALUES[name])
    values = (left.encode(), right.encode()) if name == "String" else (left, right)
    less = encode_index_value(left) < encode_index_value(right)
    assert less is (values[0] < values[1])


@pytest.mark.parametrize("name", ["Int", "Long", "BigInt"])
@given(data=st.data())
@settings(max_examples=60)
def test_integer_keys_are_in_order_and_read_as_they_were_written(
    name: str, data: st.DataObject
) -> None:
    """Stored, in a path, and beyond what a double can tell apart."""
    rules = KeyRules(name)
    left, right = data.draw(VALUES[name]), data.draw(VALUES[name])
    assert (rules.encode(left) < rules.encode(right)) is (left < right)
    for key in (left, right):
        assert decode_key(rules.encode(key)) == key
        assert rules.from_text(key_text(key)) == key
