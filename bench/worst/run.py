"""Worst days at full size: ``make worst``, or ``python bench/worst/run.py --help``.

Ends with 0 when all is as wanted, else with 1. Latencies are those of this machine: one
that is busy with other things shows them, too.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path[0] = str(ROOT)  # it was bench/worst/, whose modules are not top-level ones

from rich.console import Console  # noqa: E402

from bench import report as reports  # noqa: E402
from bench.conditions import conditions  # noqa: E402
from bench.result import Comparison, Figure, Report  # noqa: E402
from bench.scenarios import connections  # noqa: E402
from bench.scenarios.plan import Plan  # noqa: E402
from bench.worst.bombs import bombs  # noqa: E402
from bench.worst.scan import scans  # noqa: E402

RECORDS, QUICK_RECORDS = 1_000_000, 100_000


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RECORDS:,} records")
    parser.add_argument("--only", choices=("scan", "bombs", "connections"))
    parser.add_argument("--data", type=Path, help="folder for data, on a real disk")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    return parser.parse_args()


def main() -> int:
    """Measure what was chosen, and show it."""
    chosen = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    console = Console()
    with tempfile.TemporaryDirectory(prefix="lyredb-worst-", dir=chosen.data) as name:
        folder = Path(name)
        plan = Plan(folder, round_s=5.0, order="ABA", level=4, payload_bytes=64)
        report = Report(conditions(plan))
        for title, measure in _measures(plan, quick=chosen.quick).items():
            if chosen.only in (None, title):
                console.print(f"{title} …", style="dim")
                report.add(measure())
    reports.show(report, console)
    for figure in report.figures:
        console.print(f"{figure.name}: {figure.conditions}", markup=False, style="dim")
    if chosen.json:
        reports.write_json(report, chosen.json)
    return int(report.has_trouble or any(each.is_met is False for each in report.figures))


def _measures(
    plan: Plan, *, quick: bool
) -> dict[str, Callable[[], list[Figure] | list[Comparison | Figure]]]:
    holding = next(each for each in connections.SCENARIOS if each.at_most_bytes is None)
    return {
        "scan": partial(scans, plan.folder, QUICK_RECORDS if quick else RECORDS),
        "bombs": partial(bombs, plan.folder),
        "connections": partial(holding.run, plan),
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
