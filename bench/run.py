"""Measure LyreDB beside others: ``make bench``, or ``python bench/run.py --help``.

Ends with 0 whatever the figures are; with 1 if messages were lost or out of order, or
something did not run.
"""

from __future__ import annotations

import argparse
import resource
import signal
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if not __package__:
    sys.path[0] = str(ROOT)  # it was bench/, whose modules are not top-level ones

from rich.console import Console  # noqa: E402

from bench import report as reports  # noqa: E402
from bench.conditions import conditions  # noqa: E402
from bench.peers.lyredb import is_compiled  # noqa: E402
from bench.result import Report  # noqa: E402
from bench.scenarios import broker, connections, messages, rest, tables  # noqa: E402
from bench.scenarios.plan import Plan  # noqa: E402

Scenario = (
    messages.MessageScenario
    | rest.RestScenario
    | tables.ImportScenario
    | tables.TableScenario
    | connections.ConnectionScenario
)
SCENARIOS: tuple[Scenario, ...] = (
    *messages.SCENARIOS,
    *broker.SCENARIOS,
    *rest.SCENARIOS,
    *tables.SCENARIOS,
    *connections.SCENARIOS,
)
FULL_ROUND_S, QUICK_ROUND_S = 5.0, 0.5
"""A figure that is quoted rests on at least so many seconds of every server."""
LATEST = ROOT / "bench" / "results" / "latest.json"
SMALLEST_PAYLOAD = 32


def options() -> argparse.Namespace:
    """Parse the command line."""
    names = ", ".join(f'"{scenario.name}"' for scenario in SCENARIOS)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="short rounds, each server once")
    parser.add_argument("--only", metavar="NAME", help=f"scenarios whose name has NAME: {names}")
    parser.add_argument("--mqtt5", action="store_true", help="speak MQTT 5 instead of 3.1.1")
    parser.add_argument("--payload", type=int, default=64, metavar="BYTES", help="default 64")
    parser.add_argument("--data", type=Path, help="folder for data, on a real disk")
    parser.add_argument(
        "--compiled",
        type=Path,
        metavar="PYTHON",
        help="an interpreter in whose environment LyreDB is compiled; it is measured too",
    )
    parser.add_argument("--json", type=Path, default=LATEST, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="also write this page")
    chosen = parser.parse_args()
    if chosen.payload < SMALLEST_PAYLOAD:
        parser.error(f"--payload must be at least {SMALLEST_PAYLOAD}, got {chosen.payload}")
    if chosen.compiled is not None and not is_compiled(chosen.compiled):
        parser.error(f"the LyreDB of {chosen.compiled} is not compiled, or there is none")
    return chosen


def main() -> int:
    """Run the chosen scenarios and report."""
    chosen = options()
    # SIGTERM as ^C: both unwind through the contexts that end what was started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # Every connection is a descriptor, here and in the servers, which inherit the limit.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    console = Console()
    scenarios = [each for each in SCENARIOS if (chosen.only or "") in each.name]
    if not scenarios:
        console.print(f"no scenario has {chosen.only!r} in its name", markup=False)
        return 2
    with tempfile.TemporaryDirectory(prefix="lyredb-bench-", dir=chosen.data) as folder:
        plan = Plan(
            folder=Path(folder),
            round_s=QUICK_ROUND_S if chosen.quick else FULL_ROUND_S,
            order="AB" if chosen.quick else "ABA",
            level=5 if chosen.mqtt5 else 4,
            payload_bytes=chosen.payload,
            compiled=chosen.compiled,
        )
        report = Report(conditions(plan))
        for scenario in scenarios:
            console.print(f"{scenario.name} …", style="dim")
            report.add(scenario.run(plan))
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
