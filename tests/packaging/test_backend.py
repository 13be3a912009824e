"""How the package is built: two forms, and an editable installation of one of them only."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from lyredb.delivery import hub
from lyredb.server.version import form

ROOT = Path(__file__).parents[2]


def ask(question: str, compile: str) -> subprocess.CompletedProcess[str]:
    """Ask the build backend, in a process of its own as pip does."""
    return subprocess.run(
        [sys.executable, "-c", f"import lyredb_build as backend; print({question})"],
        cwd=ROOT,
        env={
            **os.environ,
            "LYREDB_COMPILE": compile,
            "PYTHONPATH": str(ROOT / "packaging" / "backend"),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_editable_installation_of_the_compiled_form_is_refused() -> None:
    """A compiled module stands before its source: edits would have no effect."""
    answer = ask("backend.get_requires_for_build_editable()", "1")
    assert answer.returncode != 0
    assert "editable" in answer.stderr
    assert "pip install ." in answer.stderr


def test_a_form_that_there_is_not_is_refused() -> None:
    """`LYREDB_COMPILE=yes` must not quietly make the pure form."""
    answer = ask("backend.wants_compiled()", "yes")
    assert answer.returncode != 0
    assert "0 or 1" in answer.stderr


def test_the_form_is_that_of_the_modules_in_use() -> None:
    """What `lyredb version` says is what runs, and what `make test-compiled` means to test."""
    is_extension = str(hub.__file__).endswith(tuple(EXTENSION_SUFFIXES))
    assert form() == ("compiled" if is_extension else "pure Python")
    assert form() == os.environ.get("TEST_FORM", form())
