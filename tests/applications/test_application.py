"""A folder is an application: tables from classes and SDL, a web folder, settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.applications.application import load_application
from lyredb.errors import SchemaError

SDL = """
type Sensor @table @export {
  id: ID @primaryKey
  place: String @indexed
  value: Float!
}
"""
CLASSES = """
from lyredb import Col, Indexed, Key, Table

class Sensor(Table, export=True):
    id: Key[str]
    place: Indexed[str | None]
    value: Col[float]
"""


def make(tmp_path: Path, **files: str) -> Path:
    folder = tmp_path / "weather"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return folder


def test_an_empty_folder_is_an_application_without_tables(tmp_path: Path) -> None:
    found = load_application(make(tmp_path))
    assert (found.name, found.schema.tables, found.web, found.config) == ("weather", (), None, None)


def test_classes_and_sdl_give_the_same_tables(tmp_path: Path) -> None:
    from_classes = load_application(make(tmp_path, tables_py=CLASSES)).schema
    (tmp_path / "weather" / "tables.py").unlink()
    from_sdl = load_application(make(tmp_path, schema_graphql=SDL)).schema
    assert from_classes == from_sdl
    assert [table.full_name for table in from_sdl.tables] == ["data.Sensor"]


def test_the_same_table_declared_twice_in_the_same_way_is_one(tmp_path: Path) -> None:
    folder = make(tmp_path, tables_py=CLASSES, schema_graphql=SDL, copy_graphql=SDL)
    assert len(load_application(folder).schema.tables) == 1


def test_tables_of_several_files_come_together(tmp_path: Path) -> None:
    other = SDL.replace("Sensor", "Station")
    folder = make(tmp_path, tables_py=CLASSES, schema_graphql=other)
    names = {table.name for table in load_application(folder).schema.tables}
    assert names == {"Sensor", "Station"}


def test_drift_names_both_files_and_what_differs(tmp_path: Path) -> None:
    folder = make(tmp_path, tables_py=CLASSES, schema_graphql=SDL.replace("Float!", "Long!"))
    with pytest.raises(
        SchemaError, match=r"tables\.py and schema\.graphql: value is Float! .* Long! "
    ):
        load_application(folder)


def test_drift_of_the_table_itself_is_drift_too(tmp_path: Path) -> None:
    folder = make(tmp_path, a_graphql=SDL, b_graphql=SDL.replace("@table", "@table @sealed"))
    with pytest.raises(SchemaError, match=r"a\.graphql and b\.graphql: sealed is False and True$"):
        load_application(folder)


def test_two_tables_under_one_path_are_refused(tmp_path: Path) -> None:
    other = SDL.replace("Sensor", "Station").replace("@export", '@export(name: "Sensor")')
    with pytest.raises(SchemaError, match="'Sensor'"):
        load_application(make(tmp_path, a_graphql=SDL, b_graphql=other))


def test_a_table_that_tables_py_only_imports_is_not_its_own(tmp_path: Path) -> None:
    """``from lyredb import Table`` and another application's classes are no tables here."""
    text = f"{CLASSES}\nfrom lyredb.tables.declare import Table as Renamed\nAlias = Sensor\n"
    folder = make(tmp_path, tables_py=text)
    assert [table.name for table in load_application(folder).schema.tables] == ["Sensor"]


def test_a_wrong_declaration_is_named_with_its_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(SchemaError) as caught:
        load_application(make(tmp_path, schema_graphql=SDL.replace("Float!", "Number!")))
    assert (caught.value.file, caught.value.line) == ("schema.graphql", 5)


def test_web_and_config_are_found(tmp_path: Path) -> None:
    folder = make(tmp_path, config_yaml="http.port: 0\n")
    (folder / "web").mkdir()
    found = load_application(folder)
    assert found.web == folder.resolve() / "web"
    assert found.config == folder.resolve() / "config.yaml"


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match="no such application folder"):
        load_application(tmp_path / "none")


def test_a_folder_that_is_named_like_a_schema_is_an_error(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "old.graphql").mkdir()
    with pytest.raises(SchemaError, match="cannot be read: Is a directory") as caught:
        load_application(folder)
    assert caught.value.file == "old.graphql"


def test_a_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    folder = make(tmp_path)
    (folder / "schema.graphql").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SchemaError, match="no UTF-8 text") as caught:
        load_application(folder)
    assert caught.value.file == "schema.graphql"
