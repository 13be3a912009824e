"""Nothing that users can name is missing in the pages, and made tables are current."""

from __future__ import annotations

import re

import pytest
import typer.main

import lyredb
from lyredb.cli.main import app
from lyredb.protocols.http.errors import STATUSES
from lyredb.protocols.mqtt.errors import ANSWERS
from lyredb.server.composition import settings_table
from lyredb.tables.directives import FIELD_DIRECTIVES, LATER_DIRECTIVES, TYPE_DIRECTIVES
from lyredb.tables.schema import SCALARS
from tests.docs.pages import DOCS
from tests.docs.tables import MADE, error_classes, with_table


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "where"), list(MADE.items()))
def test_table_in_a_page_is_what_the_code_says(name: str, where: str) -> None:
    """If this fails: ``python -m tests.docs.tables``."""
    assert page(where) == with_table(where, name)


def test_tables_have_a_row_for_every_error() -> None:
    """The tables cannot agree by both leaving a class out."""
    classes = set(error_classes())
    assert classes == set(STATUSES) == set(ANSWERS)
    assert all(f"| `{one.__name__}` |" in page("errors.md") for one in classes)
    assert all(f"`{one.__name__}`" in page("mqtt.md") for one in classes)


def test_every_public_name_is_in_the_python_page() -> None:
    """``lyredb.X`` for each X that the package offers."""
    text = page("python-api.md")
    assert [name for name in lyredb.__all__ if f"`lyredb.{name}`" not in text] == []


def test_every_command_and_option_is_in_the_command_line_page() -> None:
    """Each command has a section, each of its options is named there or in that of ``dev``."""
    text = page("cli.md")
    sections = dict(re.findall(r"^## lyredb (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # click's own
    assert set(sections) == set(commands)
    for name, command in commands.items():
        options = {one for part in command.params for one in part.opts if one.startswith("--")}
        known = sections[name] + (sections["dev"] if name == "run" else "")
        assert [one for one in options if f"`{one}" not in known and one != "--help"] == []


def test_every_setting_is_in_the_settings_page() -> None:
    """Its own test keeps that page as the table makes it; this one, that it has all rows."""
    text = page("settings.md")
    assert [row.name for row in settings_table().rows if f"`{row.name}`" not in text] == []


def test_settings_that_pages_name_exist() -> None:
    """A reader who copies a dotted name into `config.yaml` is not refused."""
    names = {row.name for row in settings_table().rows} | {"lines.port"}
    groups = {name.split(".")[0] for name in names}
    for path in DOCS.glob("*.md"):
        used = re.findall(r"`([a-z]\w*(?:\.[a-z]\w*)+)", path.read_text(encoding="utf-8"))
        unknown = {name for name in used if name.split(".")[0] in groups} - names
        assert unknown - NO_SETTINGS == set(), path.name


NO_SETTINGS = {"scope.http.mount", "scope.http.upgrade"}
"""Dotted names of pages that begin like a setting and are none."""


def test_every_type_and_directive_is_in_the_schema_page() -> None:
    """What SDL understands, and what it refuses as coming later."""
    text = page("schema.md")
    directives = {*TYPE_DIRECTIVES, *FIELD_DIRECTIVES, *LATER_DIRECTIVES}
    assert [name for name in directives if f"`@{name}" not in text] == []
    assert [name for name in SCALARS if f"`{name}`" not in text] == []


def test_every_page_is_in_the_navigation() -> None:
    """A page that is not in `mkdocs.yml` is not found; design records are in their index."""
    navigation = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")]
    shown = [one for one in pages if not re.match(r"design/(\d{4}|template)", one)]
    assert [one for one in shown if one not in navigation] == []
