"""What stands beside the figures says how far they can be trusted."""

from __future__ import annotations

from pathlib import Path

from bench.conditions import QUICK, conditions
from bench.scenarios.plan import Plan


def test_a_quick_run_says_that_it_measures_nothing(tmp_path: Path) -> None:
    """Rounds of half a second have a few ticks of CPU time: 2 or 4, a ratio of two."""
    full = Plan(folder=tmp_path, round_s=5.0, order="ABA", level=4, payload_bytes=64)
    quick = Plan(folder=tmp_path, round_s=0.5, order="AB", level=4, payload_bytes=64)
    assert QUICK in conditions(quick)
    assert QUICK not in conditions(full)
