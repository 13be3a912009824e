"""A soak of some seconds, with kills, so that the long one works when it is wanted."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest


def soak(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.soak", *arguments],
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(160)
def test_a_short_soak_keeps_every_promise_through_kills() -> None:
    """Of the writer, then of a worker, under every kind of client."""
    done = soak(
        *("--minutes", "0.17", "--clients", "12", "--kills", "--kill-every", "4", "--every", "1")
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("every promise was kept\n")
    assert re.search(r", [1-9]\d* kills$", done.stdout, re.MULTILINE)
    figures = re.search(r"^acknowledged (\d+)  heard (\d+)", done.stdout, re.MULTILINE)
    assert figures is not None
    assert int(figures[1]) > 100
    assert int(figures[2]) > int(figures[1])


def test_the_help_names_each_option() -> None:
    done = soak("--help")
    assert done.returncode == 0
    for option in ("--minutes", "--clients", "--rate", "--workers", "--kills", "--no-kills"):
        assert option in done.stdout
