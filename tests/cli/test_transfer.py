"""What the commands for many records refuse before they begin."""

from __future__ import annotations

from pathlib import Path

from tests.cli.test_administration import lyredb


def test_a_plan_is_no_export(tmp_path: Path) -> None:
    """It would be a file with something else than records; nothing is written."""
    out = tmp_path / "out.ndjson"
    told = lyredb(
        *("export", "--table", "T", "--query", "explain()", "--output", out, "--data", tmp_path),
        code=1,
    )
    assert "explain() finds no records to export" in told
    assert not out.exists()
