"""Schemas from text, files, folders and classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.errors import SchemaError
from lyredb.tables.declare import Col, Key, Table
from lyredb.tables.schema import Schema
from lyredb.tables.sdl import parse_sdl
from lyredb.tables.source import differences, load_schema

SDL = "type Sensor @table { id: ID @primaryKey  value: Float! }"
CLASSES = """
from lyredb.tables.declare import Col, Key, Table

class Sensor(Table):
    id: Key[str]
    value: Col[float]
"""


class Sensor(Table):
    id: Key[str]
    value: Col[float]


def test_all_sources_of_one_table_are_equal(tmp_path: Path) -> None:
    """SDL text, an SDL file, a Python file, a folder with both, classes."""
    (tmp_path / "a.graphql").write_text(SDL)
    (tmp_path / "tables.py").write_text(CLASSES)
    expected = load_schema(SDL)
    assert load_schema([Sensor]) == expected
    assert load_schema(tmp_path / "a.graphql") == expected
    assert load_schema(str(tmp_path / "tables.py")) == expected
    assert load_schema(tmp_path) == expected
    assert load_schema("") == load_schema([]) == Schema()


def test_drift_names_both_files_and_what_differs(tmp_path: Path) -> None:
    """A table means one thing; both meanings are shown with their places."""
    (tmp_path / "a.graphql").write_text(SDL.replace("Float!", "Float @indexed") + "\n")
    (tmp_path / "tables.py").write_text(CLASSES)
    with pytest.raises(SchemaError) as caught:
        load_schema(tmp_path)
    assert str(caught.value) == (
        "a.graphql: Sensor is declared differently in tables.py and a.graphql: value is Float! "
        "(tables.py:6:5) and Float indexed (a.graphql:1:42)"
    )


def test_drift_tells_an_attribute_that_one_file_lacks(tmp_path: Path) -> None:
    """With the place of the table that lacks it."""
    (tmp_path / "a.graphql").write_text(SDL)
    (tmp_path / "b.graphql").write_text(SDL.replace("value: Float!", ""))
    with pytest.raises(SchemaError, match=r"value is Float! .* and absent \(b\.graphql:1:6\)$"):
        load_schema(tmp_path)


@pytest.mark.parametrize("source", [5, 1.5, object()])
def test_what_is_no_source_is_a_type_error(source: object) -> None:
    """With what it can be."""
    with pytest.raises(TypeError, match="SDL text, the path of a file or folder, or a list"):
        load_schema(source)  # type: ignore[arg-type]  # the mistake in question


def test_a_class_alone_is_told_to_be_a_list() -> None:
    with pytest.raises(TypeError, match=r"a list of them: \[Sensor\]"):
        load_schema(Sensor)  # type: ignore[arg-type]  # the mistake in question


def test_a_folder_called_like_a_schema_file_is_named(tmp_path: Path) -> None:
    """And not a traceback."""
    (tmp_path / "a.graphql").mkdir()
    with pytest.raises(SchemaError, match=r"^a\.graphql: cannot be read: Is a directory"):
        load_schema(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("a.graphql", b"type A @table {\n x: Itn\n}", 2, "did you mean Int?"),
        ("a.graphql", b"\xff", 0, "UTF-8"),
        ("a.py", b"x = 1\n1/0\n", 2, "ZeroDivisionError"),
        ("a.py", b"x = 1\nx = = 2\n", 2, "invalid syntax"),
        ("a.py", b"import sys\nsys.exit(0)\n", 2, "ended the program"),
    ],
)
def test_errors_name_the_file(
    tmp_path: Path, name: str, content: bytes, line: int, message: str
) -> None:
    """With the line, where there is one."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SchemaError, match=message) as caught:
        load_schema(tmp_path / name)
    assert (caught.value.file, caught.value.line) == (name, line)


def test_a_missing_file_is_a_schema_error(tmp_path: Path) -> None:
    """A path without a brace is a path."""
    with pytest.raises(SchemaError, match=r"^none\.graphql: cannot be read"):
        load_schema(str(tmp_path / "none.graphql"))


def test_what_differs_of_virtual_attributes_is_shown() -> None:
    """Two declarations that differ in a mark alone must not look the same in the message."""
    text = (
        "type B @table {{ id: ID k: ID n: Int c: Int @computed(from: {0}, version: {1}) "
        "r: B @relationship(from: {2}) a: Int @allow(role: {3}) }}"
    )
    first = parse_sdl(text.format("n", "1", "k", "x")).tables[0]
    second = parse_sdl(text.format('"n + 1"', "2", "id", "y")).tables[0]
    assert differences(first, second) == [
        "c is Int computed from 'n' version 1 and Int computed from 'n + 1' version 2",
        "r is Any related to data.B (from 'k' to '') and Any related to data.B (from 'id' to '')",
        "a is Int allowed to x and Int allowed to y",
    ]
