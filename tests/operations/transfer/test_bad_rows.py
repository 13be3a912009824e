"""Rows that no table can have are left out, with the line where they begin and a sentence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lyredb.errors import InvalidInput
from lyredb.operations.transfer import rows
from lyredb.operations.transfer.spec import FileFormat
from tests.operations.transfer.shelf import Shelf, bad_rows, read

SDL = """
type T @table {
  id: ID @primaryKey  name: String!  n: Int  at: Date  raw: Bytes  tags: [String]
  twice: Float @computed(from: "n * 2")
  other: T @relationship(from: "name")
}
type Open @table { name: String }
"""
GOOD = '{"id":"a","name":"x"}\n'


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    shelf = Shelf(tmp_path_factory.mktemp("shelf") / "data", SDL)
    yield shelf
    shelf.close()


def imported(
    shelf: Shelf, path: Path, text: str | bytes, format: FileFormat, **options: Any
) -> tuple[int, list[tuple[int, str]]]:
    """How many rows can be imported, and what is wrong with the others."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    spec = shelf.spec(path, format, **options)
    found, _ = read(spec)
    return sum(len(batch.mutations) for batch in found), bad_rows(spec)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ('{"id":"b"', "JSON"),
        ("[1]", "object"),
        ('"text"', "object"),
        ('{"id":"b","name":"x"}{"id":"c","name":"x"}', "JSON"),
        ('{"id":"b"}', "name is required"),
        ('{"id":"b","name":null}', "name is required"),
        ('{"id":"b","name":1}', "name must be"),
        ('{"id":"b","name":"x","n":"1"}', "n must be"),
        ('{"id":"b","name":"x","n":2147483648}', "n must be"),
        ('{"id":"b","name":"x","at":"yesterday"}', "at must be"),
        ('{"id":"b","name":"x","raw":"no base64!"}', "raw must be base64"),
        ('{"id":"b","name":"x","tags":"x"}', "tags must be"),
        ('{"id":"b","name":"x","twice":2}', "twice may not"),
        ('{"id":"b","name":"x","other":{}}', "other"),
        ('{"id":true,"name":"x"}', "key"),
        ('{"id":"a#","name":"x"}', "key"),
        ('{"id":"b","name":"' + "x" * 1_000_000 + '"}', "bytes"),
        ('{"id":"b","name":"\\ud800"}', ""),
    ],
)
def test_a_bad_row_of_ndjson_is_left_out_alone(
    shelf: Shelf, tmp_path: Path, row: str, problem: str
) -> None:
    """Empty lines are none, and count."""
    text = f"{GOOD}\n{row}\n{GOOD}"
    count, ((line, sentence),) = imported(shelf, tmp_path / "f", text, "ndjson")
    assert (count, line) == (2, 3)
    assert problem in sentence, sentence


def test_bytes_that_are_no_text_and_long_lines_are_bad_rows(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 100)
    broken = b'{"id":"b","name":"\xff"}\n'
    long = b'{"id":"c","name":"' + b"x" * 500 + b'"}\n'
    text = GOOD.encode() + broken + long + GOOD.encode()
    count, bad = imported(shelf, tmp_path / "f", text, "ndjson")
    assert (count, [line for line, _ in bad]) == (2, [2, 3])
    assert bad[1][1] == "longer than 100 bytes"
    csv = b"id,name\na,x\nb,\xff\nc," + b"x" * 500 + b'\ne,x\nd,"' + b"x\n" * 80
    count, bad = imported(shelf, tmp_path / "f", csv, "csv")
    # A row of many lines ends at the hundredth byte, and what is left of it is none either.
    assert (count, [line for line, _ in bad][:3]) == (2, [3, 4, 6])
    assert [sentence for _, sentence in bad][:3] == [
        "no UTF-8 text", "longer than 100 bytes", "longer than 100 bytes"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("b", "name is required"),
        ("b,x,1,,,,too many", "7 cells"),
        ("b,x,one", "n must be an integer, got 'one'"),
        ("b,x,1.5", "n must be an integer"),
        ("b,x,,yesterday", "at must be"),
        ("b,x,,,!", "raw must be base64"),
        ("b,x,,,,[1", "tags must be JSON"),
        ('b,"x"y', "no CSV"),
    ],
)
def test_a_bad_row_of_csv_is_left_out_alone(
    shelf: Shelf, tmp_path: Path, row: str, problem: str
) -> None:
    """Its line is right also behind rows that have several."""
    text = f'\ufeffid,name,n,at,raw,tags\r\na,"x\n""\n,"\r\n{row}\r\nc,"y\nz"\r\n'
    count, ((line, sentence),) = imported(shelf, tmp_path / "f", text, "csv")
    assert (count, line) == (2, 5)
    assert problem in sentence, sentence


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("id,,name", "has no name"),
        ("id,name,id", "the same name"),
        ("id, name ,name", "the same name"),
        ("id,name,twice", "twice is computed"),
        ("id,name,other", "other is computed or a relation"),
        ('id,"name', "first line"),
    ],
)
def test_a_bad_header_ends_it(shelf: Shelf, tmp_path: Path, header: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        imported(shelf, tmp_path / "f", f"{header}\na,x,x\n", "csv")


def test_what_stops_at_a_bad_row_has_the_rows_before_it(shelf: Shelf, tmp_path: Path) -> None:
    text = GOOD * 3 + '{"id":"b"}\n' + GOOD
    count, bad = imported(shelf, tmp_path / "f", text, "ndjson", stops_at_bad=True)
    assert (count, [line for line, _ in bad]) == (3, [4])


def test_an_element_of_json_is_known_by_its_number(shelf: Shelf, tmp_path: Path) -> None:
    text = '\ufeff[{"id":"a","name":"x"},\n3,{"id":"b"},{"id":"c","name":"x"}]'
    count, bad = imported(shelf, tmp_path / "f", text, "json")
    assert (count, [line for line, _ in bad]) == (2, [2, 3])
    with pytest.raises(InvalidInput, match="no JSON list"):
        imported(shelf, tmp_path / "f", '{"id":"a"}', "json")


@pytest.mark.parametrize(
    ("format", "text"),
    [("csv", b""), ("csv", b"id,name\n"), ("ndjson", b""), ("ndjson", b"\n \n"), ("json", b"[]")],
)
def test_an_empty_file_has_no_rows(
    shelf: Shelf, tmp_path: Path, format: FileFormat, text: bytes
) -> None:
    assert imported(shelf, tmp_path / "f", text, format) == (0, [])


def records(shelf: Shelf, path: Path, text: str, **options: Any) -> list[dict[str, Any]]:
    path.write_text(text)
    found, _ = read(shelf.spec(path, "csv", **options))
    assert [row for batch in found for row in batch.bad] == []
    table = shelf.table(options.get("table", "data.T"))
    name = f"data.{table.schema.name}"
    shelf.put([], name)
    shelf.commit([mutation for batch in found for mutation in batch.mutations])
    return shelf.records(name)


def test_cells_of_undeclared_columns_are_what_they_look_like(shelf: Shelf, tmp_path: Path) -> None:
    text = 'id;a\n1;007\n2;7\n3;-0.5\n4;"[1, ""x""]"\n5;true\n6;""\n7;\n8;NULL\n9;"{x"\nx;1e999\n'
    found = records(shelf, tmp_path / "f", text, table="data.Open", delimiter=";", null="NULL")
    assert [(each["id"], each.get("a", "absent")) for each in found] == [
        (1, "007"), (2, 7), (3, -0.5), (4, [1, "x"]), (5, True), (6, ""), (7, "absent"),
        (8, None), (9, "{x"), ("x", "1e999"),
    ]  # fmt: skip


def test_an_empty_text_is_told_from_an_empty_cell_wherever_it_stands(
    shelf: Shelf, tmp_path: Path
) -> None:
    """Two quotes within a quoted cell are one quote, also beside delimiters and line ends."""
    text = 'id,name,b\n"1","",\n2,"a,"",b",""\n3,"\n,"",\n""\n","x"\n4,"""",""\n5,"",""\n'
    found = records(shelf, tmp_path / "f", text, table="data.Open")
    assert [(each["name"], each.get("b", "absent")) for each in found] == [
        ("", "absent"), ('a,",b', ""), ('\n,",\n"\n', "x"), ('"', ""), ("", ""),
    ]  # fmt: skip


def test_another_column_may_be_the_key(shelf: Shelf, tmp_path: Path) -> None:
    found = records(shelf, tmp_path / "f", "code,name\n007,x\n7,y\n", key="code")
    assert found == [{"id": "007", "name": "x"}, {"id": "7", "name": "y"}]
