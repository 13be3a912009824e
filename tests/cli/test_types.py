"""``lyredb types`` writes classes that declare what the SDL declares."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.applications.application import load_application
from lyredb.cli.types import write_types
from lyredb.errors import InvalidInput, SchemaError

SDL = "type Sensor @table @export {\n  id: ID @primaryKey\n  value: Float!\n}\n"


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    file = tmp_path / "schema.graphql"
    file.write_text(SDL)
    return file


def test_what_is_written_declares_the_same_tables(schema: Path, tmp_path: Path) -> None:
    """Proved by an application that has both: drift would be an error."""
    assert write_types([schema], out=tmp_path / "tables.py", check=False) == 0
    assert len(load_application(tmp_path).schema.tables) == 1


def test_without_out_the_classes_are_printed(
    schema: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert write_types([schema], out=None, check=False) == 0
    assert "class Sensor(Table" in capsys.readouterr().out


def test_check_tells_whether_the_file_is_up_to_date_and_writes_nothing(
    schema: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "tables.py"
    assert write_types([schema], out=out, check=True) == 1
    assert not out.exists()
    write_types([schema], out=out, check=False)
    assert write_types([schema], out=out, check=True) == 0
    schema.write_text(SDL.replace("Float!", "Float"))
    assert write_types([schema], out=out, check=True) == 1
    assert "not up to date" in capsys.readouterr().err


def test_a_file_that_was_written_by_hand_is_not_overwritten(schema: Path, tmp_path: Path) -> None:
    out = tmp_path / "tables.py"
    out.write_text("# mine\n")
    with pytest.raises(InvalidInput, match="not made by"):
        write_types([schema], out=out, check=False)
    assert out.read_text() == "# mine\n"


def test_check_without_a_file_is_refused(schema: Path) -> None:
    with pytest.raises(InvalidInput, match="--out"):
        write_types([schema], out=None, check=True)


def test_a_table_in_two_files_is_refused(schema: Path, tmp_path: Path) -> None:
    second = tmp_path / "more.graphql"
    second.write_text(SDL)
    with pytest.raises(SchemaError, match=r"declared in schema\.graphql too"):
        write_types([schema, second], out=None, check=False)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        write_types([tmp_path / "none.graphql"], out=None, check=False)
