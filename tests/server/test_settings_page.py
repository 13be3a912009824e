"""The page of settings says what the table says."""

from __future__ import annotations

from pathlib import Path

import pytest

from lyredb.plugins.settings import Setting
from lyredb.server.composition import settings_table
from lyredb.server.settings_page import default_text, page

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_settings_page_is_what_the_table_makes() -> None:
    """If this fails: ``python -m lyredb.server.settings_page``."""
    assert (DOCS / "settings.md").read_text(encoding="utf-8") == page(settings_table().rows)


def test_every_setting_says_what_it_does_and_its_default_is_allowed() -> None:
    for row in settings_table().rows:
        assert row.sentence.endswith("."), row.name
        assert row.parse(row.default) == row.default, row.name


def test_every_default_can_be_written_as_the_page_writes_it() -> None:
    for row in settings_table().rows:
        if row.default != "":
            assert row.parse(default_text(row)) == row.default, row.name


@pytest.mark.parametrize(
    ("kind", "default", "text"),
    [
        ("duration", 86_400.0, "1d"),
        ("duration", 90.0, "90s"),
        ("duration", 0.5, "500ms"),
        ("duration", 0.0, "0.0"),
        ("size", 1_000_000, "1MB"),
        ("size", 1_048_576, "1MiB"),
        ("size", 16_394, "16394"),
        ("flag", True, "true"),
        ("port", 0, "0"),
        ("port", -1, "off"),
    ],
)
def test_defaults_are_written_in_the_largest_unit_that_fits(
    kind: str, default: float, text: str
) -> None:
    row = Setting("a.b", default, kind, "Does.")  # type: ignore[arg-type]  # a parameter
    assert default_text(row) == text
