"""``lyredb openapi`` writes the document of an application."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from lyredb.cli.openapi import write_openapi
from lyredb.errors import InvalidInput, SchemaError

SDL = "type Sensor @table @export { id: ID @primaryKey  value: Float }"


@pytest.fixture
def application(tmp_path: Path) -> Path:
    folder = tmp_path / "plant"
    folder.mkdir()
    (folder / "schema.graphql").write_text(SDL)
    return folder


def test_without_out_the_document_is_printed(
    application: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_openapi(application, out=None)
    printed = json.loads(capsys.readouterr().out)
    assert printed["info"]["title"] == "plant"
    assert "/Sensor/{id}" in printed["paths"]


def test_name_of_the_file_chooses_the_format(application: Path, tmp_path: Path) -> None:
    """Both say the same."""
    as_json, as_yaml = tmp_path / "api.json", tmp_path / "api.yaml"
    write_openapi(application, out=as_json)
    write_openapi(application, out=as_yaml)
    assert json.loads(as_json.read_text()) == yaml.safe_load(as_yaml.read_text())


def test_what_cannot_be_read_or_written_is_said(application: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be written"):
        write_openapi(application, out=tmp_path / "none" / "api.json")
    with pytest.raises(SchemaError, match="no such application folder"):
        write_openapi(tmp_path / "none", out=None)
