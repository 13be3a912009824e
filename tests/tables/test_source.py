"""Schemas from text, files, folders and classes."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.errors import SchemaError
from lyredb.tables.declare import Col, Key, Table
from lyredb.tables.schema import Schema
from lyredb.tables.source import load_schema

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
    """A table means one thing."""
    (tmp_path / "a.graphql").write_text(SDL.replace("Float!", "Float"))
    (tmp_path / "tables.py").write_text(CLASSES)
    with pytest.raises(SchemaError, match=r"in tables\.py and a\.graphql: value"):
        load_schema(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "line", "message"),
    [
        ("a.graphql", b"type A @table {\n x: Itn\n}", 2, "did you mean Int?"),
        ("a.graphql", b"\xff", 0, "UTF-8"),
        ("a.py", b"x = 1\n1/0\n", 2, "ZeroDivisionError"),
        ("a.py", b"x = 1\nx = = 2\n", 2, "invalid syntax"),
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
