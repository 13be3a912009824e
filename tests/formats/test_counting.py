"""Counting the values of a body, compared with decoding it."""

from __future__ import annotations

import json
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyredb.errors import InvalidBody
from lyredb.formats import CBOR, JSON, MSGPACK, StructuredFormat, counting

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8") | st.sampled_from('",:\\[]{}'), max_size=40),
    lambda inner: (
        st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)


def values_in(value: Any) -> int:
    """Values and names, containers included."""
    if isinstance(value, dict):
        return 1 + sum(1 + values_in(item) for item in value.values())
    if isinstance(value, list):
        return 1 + sum(map(values_in, value))
    return 1


def passes(check: Any, data: bytes, limit: int, monkeypatch: pytest.MonkeyPatch) -> bool:
    with monkeypatch.context() as patch:
        patch.setattr(counting, "MAX_VALUES", limit)
        try:
            check(data)
        except InvalidBody:
            return False
    return True


@given(st.lists(VALUES, max_size=5))
def test_messagepack_values_one_after_the_other_are_told_apart(values: list[Any]) -> None:
    data = b"".join(MSGPACK.encode_sequence(values))
    assert counting.msgpack_values(data) == len(values)
    assert MSGPACK.decode_sequence(data) == values


@given(VALUES)
def test_msgpack_and_cbor_are_counted_exactly(value: Any) -> None:
    count = values_in(value)
    with pytest.MonkeyPatch.context() as patch:
        for check, data in (
            (counting.check_msgpack_count, msgspec.msgpack.encode(value)),
            (counting.check_cbor_count, cbor2.dumps(value)),
        ):
            assert passes(check, data, count, patch)
            # A body that cannot have more is not walked.
            assert passes(check, data, count - 1, patch) is (len(data) <= count - 1)


@given(VALUES)
def test_json_is_counted_by_what_stands_between_its_values(value: Any) -> None:
    """Whatever stands in its strings."""
    data = json.dumps(value).encode()
    between = values_in(value)
    with pytest.MonkeyPatch.context() as patch:
        assert passes(counting.check_json_count, data, between, patch)


@given(st.lists(st.text(max_size=10), min_size=20, max_size=30))
def test_json_with_too_many_values_is_refused(value: list[str]) -> None:
    data = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        assert not passes(counting.check_json_count, data, 10, patch)


@given(st.binary(max_size=200))
def test_no_bytes_make_counting_fail_otherwise(data: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for check in (
            counting.check_json_count,
            counting.check_msgpack_count,
            counting.check_cbor_count,
        ):
            passes(check, data, 5, patch)


@pytest.mark.parametrize("chosen", [JSON, CBOR, MSGPACK], ids=lambda one: one.name)
def test_as_many_values_as_are_allowed_are_taken(chosen: StructuredFormat) -> None:
    value: list[object] = [1] * (counting.MAX_VALUES - 1)
    assert chosen.decode(chosen.encode(value)) == value
    value = [1.5] * (counting.MAX_VALUES + 1)
    with pytest.raises(InvalidBody, match="at most 150000 values"):
        chosen.decode(chosen.encode(value))


@pytest.mark.parametrize("chosen", [JSON, CBOR, MSGPACK], ids=lambda one: one.name)
def test_a_long_text_with_many_commas_is_one_value(chosen: StructuredFormat) -> None:
    text = 'a,b:c"\\{[' * 100_000
    assert chosen.decode(chosen.encode([text])) == [text]


@pytest.mark.parametrize("chosen", [JSON, CBOR, MSGPACK], ids=lambda one: one.name)
def test_an_object_has_no_more_than_10000_names(chosen: StructuredFormat) -> None:
    value = {f"n{number}": number for number in range(10_000)}
    assert chosen.decode(chosen.encode(value)) == value
    with pytest.raises(InvalidBody, match="at most 10000 names"):
        chosen.decode(chosen.encode([value | {"more": 1}]))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("chosen", [JSON, CBOR, MSGPACK], ids=lambda one: one.name)
def test_integers_have_at_most_1024_bits(chosen: StructuredFormat, sign: int) -> None:
    largest = sign * ((1 << 1_024) - 1)
    assert chosen.decode(chosen.encode([largest])) == [largest]
    with pytest.raises(InvalidBody):
        chosen.decode(chosen.encode([largest + sign]))


def test_a_long_run_of_digits_in_a_text_is_text() -> None:
    assert JSON.decode(JSON.encode(["7" * 1_000])) == ["7" * 1_000]
