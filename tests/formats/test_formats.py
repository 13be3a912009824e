"""JSON, CBOR and MessagePack: what goes out comes back, and what is refused."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lyredb.errors import InvalidBody, NestingTooDeep
from lyredb.formats import CBOR, FORMATS, JSON, MAX_DEPTH, MSGPACK, StructuredFormat, guess_json

_leaves = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**300), max_value=10**300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_binary_leaves = (
    _leaves | st.binary() | st.datetimes(min_value=datetime(1600, 1, 1), timezones=st.just(UTC))
)


def _nested(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )


@given(_nested(_leaves))
@settings(max_examples=60)
def test_json_gives_back_what_it_got(value: object) -> None:
    """Integers of any size included: their digits are kept exactly."""
    assert JSON.decode(JSON.encode(value)) == value


@pytest.mark.parametrize("form", [CBOR, MSGPACK], ids=lambda form: form.name)
@given(value=_nested(_binary_leaves))
@settings(max_examples=60)
def test_binary_formats_give_back_dates_and_bytes(form: StructuredFormat, value: object) -> None:
    """Dates and bytes are native, not text."""
    assert form.decode(form.encode(value)) == value


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
@given(data=st.binary(max_size=60))
@settings(max_examples=150)
def test_arbitrary_bytes_decode_or_are_invalid(form: StructuredFormat, data: bytes) -> None:
    """Nothing else than `InvalidBody` leaves a decoder."""
    try:
        form.decode(data)
    except InvalidBody:
        pass


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_every_proper_prefix_is_invalid(form: StructuredFormat) -> None:
    """A body that was cut off is never taken for a shorter one."""
    whole = form.encode({"id": "a", "list": [1, 2.5, None], "text": "long enough", "big": 2**70})
    for end in range(len(whole)):
        with pytest.raises(InvalidBody):
            form.decode(whole[:end])


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_trailing_bytes_are_invalid(form: StructuredFormat) -> None:
    """One body is one value."""
    with pytest.raises(InvalidBody):
        form.decode(form.encode({"a": 1}) + form.encode(2))


@pytest.mark.parametrize("levels", [MAX_DEPTH, MAX_DEPTH + 1, MAX_DEPTH + 2, 5000])
@pytest.mark.parametrize(
    ("form", "opening", "closing"),
    [(JSON, b"[", b"]"), (JSON, b'{"a":[', b"]}"), (CBOR, b"\x81", b""), (MSGPACK, b"\x91", b"")],
)
def test_depth_is_limited(
    form: StructuredFormat, opening: bytes, closing: bytes, levels: int
) -> None:
    """`MAX_DEPTH` levels pass and one more does not, far beyond C's recursion limit too."""
    repeats = levels // opening.count(b"[") if form is JSON and b"{" not in opening else levels
    if b"{" in opening:
        repeats = (levels + 1) // 2
        levels = repeats * 2
    inner = b"1" if form is JSON else b"\x01"
    body = opening * repeats + inner + closing * repeats
    if levels <= MAX_DEPTH:
        form.decode(body)
    else:
        with pytest.raises(NestingTooDeep):
            form.decode(body)


def test_many_brackets_are_not_depth() -> None:
    """A long flat list passes, and so do brackets in text."""
    value = [[1]] * 500 + ["[" * 500]
    assert JSON.decode(JSON.encode(value)) == value


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_numbers_must_be_finite(number: float) -> None:
    """No format brings infinity or NaN in."""
    for body, form in (
        (cbor2.dumps({"a": number}), CBOR),
        (msgspec.msgpack.encode([number]), MSGPACK),
    ):
        with pytest.raises(InvalidBody, match="finite"):
            form.decode(body)
    for text in (b"NaN", b"Infinity", b"1e999"):
        with pytest.raises(InvalidBody):
            JSON.decode(text)


@pytest.mark.parametrize(
    "body",
    [
        cbor2.dumps({1: 2}),
        cbor2.dumps({"a": {1, 2}}),
        cbor2.dumps(cbor2.CBORTag(1234, "x")),
        cbor2.dumps(cbor2.undefined),
        b"\xc1\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00",
    ],
)
def test_cbor_refuses_what_records_do_not_have(body: bytes) -> None:
    """Names that are no strings, sets, foreign tags, undefined, an infinite date."""
    with pytest.raises(InvalidBody):
        CBOR.decode(body)


def test_cbor_refuses_shared_references() -> None:
    """A few bytes could stand for 2**60 values otherwise."""
    bomb: list[object] = ["x"]
    for _ in range(25):
        bomb = [bomb, bomb]
    with pytest.raises(InvalidBody, match="tags"):
        CBOR.decode(cbor2.dumps(bomb, value_sharing=True))


def test_json_writes_dates_as_iso_and_bytes_as_base64() -> None:
    """Types that JSON itself does not have."""
    value = {"at": datetime(2024, 1, 5, 20, 7, 27, 955000, tzinfo=UTC), "raw": b"\xff\x00"}
    assert JSON.encode(value) == b'{"at":"2024-01-05T20:07:27.955000Z","raw":"/wA="}'


@pytest.mark.parametrize("values", [[], [{"a": 1}], [{"a": 1}, 2, None]])
def test_sequences_are_streamed_in_each_formats_way(values: list[object]) -> None:
    """JSON and CBOR as an array, MessagePack as one value after the other."""
    assert JSON.decode(b"".join(JSON.encode_sequence(iter(values)))) == values
    assert CBOR.decode(b"".join(CBOR.encode_sequence(iter(values)))) == values
    assert list(MSGPACK.encode_sequence(values)) == [MSGPACK.encode(value) for value in values]


def test_a_sequence_is_lazy() -> None:
    """The first bytes leave before the last value exists."""

    def values() -> object:
        yield 1
        raise AssertionError("read ahead")

    assert next(iter(JSON.encode_sequence(values()))) == b"[1"  # type: ignore[arg-type]  # generator typed as object


def test_json_is_guessed_by_its_first_brace() -> None:
    """Conventions: no content type means JSON if it begins with an object."""
    assert guess_json(b' \n{"a":1}')
    assert not guess_json(b"[1]")
    assert not guess_json(b"")


@pytest.mark.parametrize(
    ("chosen", "body"),
    [(JSON, b'{"value": "x\xff"}'), (JSON, b'{"x\xff": 1}'), (MSGPACK, b"\xa1\xff")],
)
def test_text_that_is_not_utf8_is_said_in_our_words(chosen: StructuredFormat, body: bytes) -> None:
    """The codec's own name a position in one string as if it were one in the body."""
    with pytest.raises(InvalidBody, match=r"^the body is not valid UTF-8$"):
        chosen.decode(body)
