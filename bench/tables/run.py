"""Ask tables of several sizes: ``make bench-tables``, or ``python bench/tables/run.py --help``.

The data directories stay in the folder that is given, so that a second run need not fill
them again. Ten million records take about 8 GB there with SQLite's, and some minutes.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path[0] = str(ROOT)  # it was bench/tables/, whose modules are not top-level ones

from rich.console import Console  # noqa: E402

from bench import report as reports  # noqa: E402
from bench.conditions import conditions  # noqa: E402
from bench.result import Report  # noqa: E402
from bench.scenarios.plan import Plan  # noqa: E402
from bench.scenarios.tables import ImportScenario, TableScenario, growth  # noqa: E402

DEFAULT_SIZES = (100_000, 1_000_000)
LATEST = ROOT / "bench" / "results" / "tables.json"


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--records", type=int, nargs="+", default=DEFAULT_SIZES)
    parser.add_argument("--no-import", action="store_true", help="do not measure imports")
    parser.add_argument("--quick", action="store_true", help="short rounds, each side once")
    parser.add_argument("--data", type=Path, help="folder for data, kept for the next run")
    parser.add_argument("--json", type=Path, default=LATEST, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write this page")
    return parser.parse_args()


def main() -> int:
    """Ask, and report."""
    chosen = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if chosen.data is not None:
        return _run(chosen, chosen.data)
    with tempfile.TemporaryDirectory(prefix="lyredb-tables-") as folder:
        return _run(chosen, Path(folder))


def _run(chosen: argparse.Namespace, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    round_s, order = (0.5, "AB") if chosen.quick else (5.0, "ABA")
    plan = Plan(folder, round_s, order, level=4, payload_bytes=64)
    report = Report(conditions(plan))
    sizes = sorted(chosen.records)
    for records in sizes:
        console.print(f"{records:,} records …", style="dim")
        if not chosen.no_import:
            report.add(ImportScenario(records=records).run(plan))
        report.add(TableScenario(records=records).run(plan))
    if len(sizes) > 1:
        report.add(growth(report.outcomes, sizes[0], sizes[-1]))
    reports.show(report, console)
    reports.write_json(report, chosen.json)
    if chosen.markdown:
        reports.write_page(report, chosen.markdown)
    return int(report.has_trouble)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
