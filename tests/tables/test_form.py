"""Forms become records by the declared types, and what cannot be read stays text."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import pytest

from lyredb.errors import InvalidBody
from lyredb.tables.form import MAX_FIELDS, read_form
from lyredb.tables.sdl import parse_sdl

TABLE = parse_sdl(
    "type A @table { id: ID name: String n: Int big: BigInt x: Float on: Boolean at: Date "
    "raw: Bytes any: Any tags: [String] numbers: [Float] place: Place } type Place { city: String }"
).tables[0]


@pytest.mark.parametrize(
    ("form", "record"),
    [
        (b"name=7&n=7&x=-1.5e3&on=true", {"name": "7", "n": 7, "x": -1500.0, "on": True}),
        (b"big=" + b"9" * 30, {"big": int("9" * 30)}),
        (b"name=a+b%26%C3%A9", {"name": "a b&é"}),
        (b"name=%5Cx41%2541%2B&any=\\n\\u0041%5c", {"name": "\\x41%41+", "any": "\\n\\u0041\\"}),
        (b"%6Eame=a=b", {"name": "a=b"}),
        (b"any=7&other=true", {"any": "7", "other": "true"}),
        (b"other=1&n=2&other=2", {"other": ["1", "2"], "n": 2}),
        (b"tags=a&numbers=1&numbers=2.5", {"tags": ["a"], "numbers": [1, 2.5]}),
        (b"at=1700000000000", {"at": datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)}),
        (b"raw=ab&id=7&name=", {"raw": b"ab", "id": "7", "name": ""}),
        (b"x=&on=", {"x": None, "on": None}),
        (b"n=many&on=yes&at=soon&place=here", {
            "n": "many", "on": "yes", "at": "soon", "place": "here",
        }),
        (b"n=1&n=2", {"n": [1, 2]}),
        (b"", {}),
    ],
)  # fmt: skip
def test_a_form_is_read_by_the_declared_types(form: bytes, record: dict[str, object]) -> None:
    """What has no declared type stays a string; so does what its type cannot be."""
    assert read_form(form, TABLE) == record


@pytest.mark.parametrize(
    "form",
    [
        b"hello",
        b"a=1&b",
        b"a=\xff",
        b"a=%ff",
        b"a=50%",
        b"a=%zz",
        b"a=1&",
        b"&".join([b"a=1"] * (MAX_FIELDS + 1)),
    ],
)
def test_what_is_no_form_is_refused_with_the_way_out(form: bytes) -> None:
    """curl -d names this type for everything that it sends."""
    with pytest.raises(InvalidBody, match="application/json"):
        read_form(form, TABLE)


def test_a_body_of_escapes_costs_a_few_times_its_size() -> None:
    """Four megabytes of them were 300 MB for a moment: one object for each."""
    form = b"name=" + b"%41" * 1_300_000
    tracemalloc.start()
    try:
        record = read_form(form, TABLE)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert record == {"name": "A" * 1_300_000}
    assert peak < 4 * len(form)
