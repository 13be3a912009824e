"""Wake, keep and end sessions, and subscribe: ``make bench-sessions``, or ``--help``.

By default it takes less than five minutes and 2 GB. The figures of the documentation are those
of ``--entries 10000000 --wakes 10000``: half an hour and 6 GB, in a folder that is removed.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if not __package__:
    sys.path[0] = str(ROOT)  # it was bench/sessions/, whose modules are not top-level ones

from rich.console import Console  # noqa: E402

from bench import report as reports  # noqa: E402
from bench.conditions import conditions  # noqa: E402
from bench.result import Comparison, Figure, Report  # noqa: E402
from bench.scenarios.plan import Plan  # noqa: E402
from bench.sessions import page  # noqa: E402
from bench.sessions.churn import churn  # noqa: E402
from bench.sessions.sleeping import sleeping  # noqa: E402
from bench.sessions.subscribing import subscribing  # noqa: E402
from bench.sessions.wakes import wakes  # noqa: E402

PARTS = ("wakes", "sleeping", "subscriptions", "churn")


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--entries", type=int, default=1_000_000, help="of the log (1,000,000)")
    parser.add_argument("--wakes", type=int, default=1_000, help="of each kind (1,000)")
    parser.add_argument("--records", type=int, default=100_000, help="of the table (100,000)")
    parser.add_argument("--sleepers", type=int, default=100_000, help="sessions (100,000)")
    parser.add_argument("--subscriptions", type=int, default=1_000_000, help="(1,000,000)")
    parser.add_argument("--only", choices=PARTS, help="the file keeps the others as they are")
    parser.add_argument("--data", type=Path, help="folder for data, on a real disk")
    parser.add_argument("--json", type=Path, default=page.LATEST, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="renew its part of this page")
    return parser.parse_args()


def main() -> int:
    """Measure what was chosen, and show it."""
    chosen = options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    console = Console()
    has_trouble = False
    with tempfile.TemporaryDirectory(prefix="lyredb-sessions-", dir=chosen.data) as name:
        plan = Plan(Path(name), round_s=5.0, order="ABA", level=4, payload_bytes=64)
        for title, measure in _parts(chosen, plan).items():
            if chosen.only in (None, title):
                console.print(f"{title} …", style="dim")
                report = Report(conditions(plan))
                report.add(measure())
                reports.show(report, console)
                page.write_part(chosen.json, title, report)
                has_trouble = has_trouble or report.has_trouble
    if chosen.markdown:
        page.renew(chosen.markdown, chosen.json)
    return int(has_trouble)


def _parts(
    chosen: argparse.Namespace, plan: Plan
) -> dict[str, Callable[[], Sequence[Comparison | Figure]]]:
    folder = plan.folder
    return {
        "wakes": partial(wakes, folder, chosen.entries, chosen.wakes, chosen.records),
        "sleeping": partial(sleeping, folder, chosen.sleepers),
        "subscriptions": partial(subscribing, chosen.subscriptions),
        "churn": partial(churn, plan),
    }


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
