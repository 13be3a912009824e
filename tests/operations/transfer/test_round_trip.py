"""What is exported is imported again as it was, in every format and of every type."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lyredb.operations.transfer.files import open_sink
from lyredb.operations.transfer.spec import FileFormat
from lyredb.storage.keys import LONGEST_NATURAL
from tests.operations.transfer.shelf import Record, Shelf, bad_rows, read, without_nulls

TYPES = """
type T @table {
  id: ID @primaryKey
  text: String @indexed  small: Int  long: Long  number: Float @indexed  big: BigInt
  flag: Boolean  date: Date  raw: Bytes  any: Any  numbers: [Float]  whole: [Int!]  raws: [Bytes]
  place: Place  places: [Place]
}
type Place { city: String  seen: Date  raw: Bytes  inner: Place }
"""
KEYS = "type T @table { id: %s @primaryKey  text: String }"
FORMATS: tuple[FileFormat, ...] = ("csv", "ndjson", "json", "parquet")

keys = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="#+/"), min_size=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ("", " ", '""', '"', ",", ",,", '","', "\n", "a\r\nb", "null", "1", "=1", "é\ufeff")
)
dates = st.integers(-(10**13), 10**14).map(lambda ms: EPOCH + timedelta(milliseconds=ms))
floats = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | floats | texts,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(texts.filter(len), inner, max_size=3)
    ),
    max_leaves=4,
)


def place(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Record]:
    parts = {"city": texts, "seen": dates, "raw": st.binary(max_size=4), "inner": inner}
    return st.fixed_dictionaries({}, optional=parts)


places = place(st.none() | place(st.none()))
DECLARED: dict[str, st.SearchStrategy[Any]] = {
    "text": texts,
    "small": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**53), 2**53),
    "number": floats,
    "big": st.integers(1 - 10**300, 10**300 - 1),
    "flag": st.booleans(),
    "date": dates,
    "raw": st.binary(max_size=6),
    "any": json_values,
    "numbers": st.lists(floats | st.none(), max_size=3),
    "whole": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
    "raws": st.lists(st.binary(max_size=4), max_size=3),
    "place": places,
    "places": st.lists(places, max_size=2),
}


def records_of(*left_out: str, extra: bool = False) -> st.SearchStrategy[list[Record]]:
    values = {name: st.none() | each for name, each in DECLARED.items() if name not in left_out}
    if extra:
        values |= {"extra": json_values, "deep er": json_values}
    record = st.fixed_dictionaries({"id": keys}, optional=values)
    return st.lists(record, min_size=1, max_size=4, unique_by=lambda each: each["id"])


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path_factory.mktemp("shelf") / "data", TYPES)
    yield shelf
    shelf.close()


def there_and_back(shelf: Shelf, path: Path, format: FileFormat) -> list[Record]:
    """Export all, take it for rows, write those over an empty table; what is there then."""
    shelf.export(path, format)
    spec = shelf.spec(path, format)
    assert bad_rows(spec) == []
    found, _ = read(spec)
    shelf.put([])
    shelf.commit([mutation for batch in found for mutation in batch.mutations])
    return shelf.records()


quietly = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("format", ["ndjson", "json"])
@given(records=records_of(extra=True))
@quietly
def test_json_keeps_every_value(
    shelf: Shelf, tmp_path: Path, format: FileFormat, records: list[Record]
) -> None:
    """Undeclared attributes, nulls and nested bytes included."""
    shelf.put(records)
    before = shelf.records()
    assert there_and_back(shelf, tmp_path / "rows", format) == before


@given(records=records_of("any"))
@quietly
def test_csv_keeps_every_declared_value_but_nulls(
    shelf: Shelf, tmp_path: Path, records: list[Record]
) -> None:
    """A null is an empty cell, which is an absent attribute; an empty text is a text."""
    shelf.put(records)
    before = [without_nulls(record) for record in shelf.records()]
    assert there_and_back(shelf, tmp_path / "rows", "csv") == before


@given(records=records_of())
@settings(quietly, max_examples=25)
def test_parquet_keeps_every_declared_value_but_nulls(
    shelf: Shelf, tmp_path: Path, records: list[Record]
) -> None:
    shelf.put(records)
    before = [without_nulls(record) for record in shelf.records()]
    assert there_and_back(shelf, tmp_path / "rows.parquet", "parquet") == before


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("ending", ["", ".gz", ".zst", ".br"])
def test_the_compressions_are_told_by_the_name(
    shelf: Shelf, tmp_path: Path, format: FileFormat, ending: str
) -> None:
    if format == "parquet" and ending:
        pytest.skip("Parquet has its own")
    shelf.put({"id": f"{n:04}", "text": "x" * 50, "small": n} for n in range(500))
    before = shelf.records()
    path = tmp_path / f"rows.{format}{ending}"
    assert there_and_back(shelf, path, format) == before
    if ending and format != "json":
        assert path.stat().st_size < 20_000


LONG = "k" * (LONGEST_NATURAL + 100)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("type", "keys"),
    [
        ("ID", ["a", "5", "007", LONG]),
        ("String", ["a", "5", " ", LONG]),
        ("Int", [-(2**31), -1, 0, 7]),
        ("Long", [-(2**53), 5, 2**53]),
        ("Any", [-5, 12, "007", "a", "1e3", LONG]),
    ],
)
def test_keys_keep_their_type(
    tmp_path: Path, format: FileFormat, type: str, keys: list[object]
) -> None:
    shelf = Shelf(tmp_path / "data", KEYS % type)
    try:
        shelf.put({"id": key, "text": f"of {key}"} for key in keys)
        before = shelf.records()
        assert len(before) == len(keys)
        assert there_and_back(shelf, tmp_path / f"rows.{format}", format) == before
    finally:
        shelf.close()


MADE = """
type T @table {
  id: ID @primaryKey  n: Int  siteId: ID
  twice: Float @computed(from: "n * 2") @enumerable
  site: T @relationship(from: "siteId")
  made: Float @createdTime
}
"""


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_has_nothing_that_an_import_refuses(tmp_path: Path, format: FileFormat) -> None:
    """Computed attributes are not in it; the times of the server are set anew."""
    shelf = Shelf(tmp_path / "data", MADE)
    try:
        shelf.put([{"id": "a", "n": 2, "siteId": "a"}])
        (after,) = there_and_back(shelf, tmp_path / f"rows.{format}", format)
        assert (after["n"], after["siteId"], after["twice"]) == (2, "a", 4)
        if format != "parquet":
            assert b"twice" not in (tmp_path / f"rows.{format}").read_bytes()
        shelf.export(tmp_path / "chosen.ndjson", "ndjson", "select(id,twice)")
        assert (tmp_path / "chosen.ndjson").read_text() == '{"id":"a","twice":4}\n'
    finally:
        shelf.close()


def test_a_broken_export_leaves_what_stood_there(tmp_path: Path) -> None:
    path = tmp_path / "rows.ndjson.gz"
    path.write_bytes(gzip.compress(b"before"))
    with suppress(ZeroDivisionError), open_sink(str(path)) as sink:
        sink.write(b"after" * 10)
        raise ZeroDivisionError
    assert gzip.decompress(path.read_bytes()) == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["rows.ndjson.gz"]
