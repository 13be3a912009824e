"""An application's modules are a package of their own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lyredb.applications.package import ApplicationPackage
from lyredb.errors import SchemaError


@pytest.fixture(autouse=True)
def _no_module_stays() -> Iterator[None]:
    before = set(sys.modules)
    path = list(sys.path)
    yield
    assert sys.path == path
    for name in set(sys.modules) - before:
        if name.startswith("lyredb_application_"):
            del sys.modules[name]


def folder(tmp_path: Path, name: str, **modules: str) -> Path:
    made = tmp_path / name
    made.mkdir()
    for module, text in modules.items():
        (made / f"{module}.py").write_text(text, encoding="utf-8")
    return made


def test_a_module_imports_its_neighbour_relatively(tmp_path: Path) -> None:
    where = folder(
        tmp_path, "app", tables="X = 1\n", resources="from .tables import X\nY = X + 1\n"
    )
    assert ApplicationPackage(where).load("resources").Y == 2


def test_two_applications_with_the_same_file_names_do_not_clash(tmp_path: Path) -> None:
    first = ApplicationPackage(
        folder(tmp_path, "a", tables="X = 'a'\n", y="from .tables import X\n")
    )
    second = ApplicationPackage(
        folder(tmp_path, "b", tables="X = 'b'\n", y="from .tables import X\n")
    )
    assert [package.load("y").X for package in (first, second)] == ["a", "b"]
    assert "tables" not in sys.modules


def test_one_folder_can_be_loaded_twice(tmp_path: Path) -> None:
    where = folder(tmp_path, "app", tables="X = object()\n")
    first, second = ApplicationPackage(where), ApplicationPackage(where)
    assert first.load("tables").X is not second.load("tables").X


def test_the_folders_init_runs_first_and_once(tmp_path: Path) -> None:
    where = folder(
        tmp_path, "app", __init__="SEEN = []\n", tables="from . import SEEN\nSEEN.append(1)\n"
    )
    package = ApplicationPackage(where)
    package.load("tables")
    assert package.load("tables").SEEN == [1]


def test_a_folder_name_that_is_no_identifier_works(tmp_path: Path) -> None:
    assert ApplicationPackage(folder(tmp_path, "my-app 2.0", t="X = 1\n")).load("t").X == 1


def test_a_syntax_error_is_named_with_file_line_and_column(tmp_path: Path) -> None:
    where = folder(tmp_path, "app", tables="X = 1\nclass :\n")
    with pytest.raises(SchemaError) as caught:
        ApplicationPackage(where).load("tables")
    assert (caught.value.file, caught.value.line, caught.value.column) == ("tables.py", 2, 7)


def test_an_exception_is_named_with_the_applications_line(tmp_path: Path) -> None:
    where = folder(tmp_path, "app", tables="import json\n\njson.loads('{')\n")
    with pytest.raises(SchemaError, match="JSONDecodeError") as caught:
        ApplicationPackage(where).load("tables")
    assert (caught.value.file, caught.value.line) == ("tables.py", 3)


@pytest.mark.parametrize("code", ["0", "3", "'bye'", ""])
def test_a_module_cannot_end_the_program(tmp_path: Path, code: str) -> None:
    """A start that ends with code 0 and no word looks like success."""
    where = folder(tmp_path, "app", tables=f"import sys\n\nsys.exit({code})\n")
    with pytest.raises(SchemaError, match="ended the program") as caught:
        ApplicationPackage(where).load("tables")
    assert (caught.value.file, caught.value.line) == ("tables.py", 3)


def test_a_missing_import_says_what_is_missing(tmp_path: Path) -> None:
    where = folder(tmp_path, "app", tables="import not_a_module_anywhere\n")
    with pytest.raises(SchemaError, match="No module named 'not_a_module_anywhere'"):
        ApplicationPackage(where).load("tables")


def test_a_package_that_failed_leaves_no_half_module(tmp_path: Path) -> None:
    where = folder(tmp_path, "app", __init__="raise RuntimeError('no')\n", tables="")
    package = ApplicationPackage(where)
    for _ in range(2):
        with pytest.raises(SchemaError, match="RuntimeError: no"):
            package.load("tables")
    assert package.name not in sys.modules


def test_unload_takes_the_modules_away(tmp_path: Path) -> None:
    package = ApplicationPackage(folder(tmp_path, "app", tables=""))
    package.load("tables")
    package.unload()
    assert not [name for name in sys.modules if name.startswith(package.name)]
