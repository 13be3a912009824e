"""Show a report: as a table on the terminal, as JSON, as the page of the documentation."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.result import Comparison, Report, Side

COLUMNS = ("scenario", "LyreDB", "peer", "ratio", "wanted", "load/server CPU", "frames/read")
PLAIN_WIDTH = 150
LOAD_BOUND = 0.95
"""A load that is this busy was the bottleneck on the clock; per CPU second still holds."""

PAGE = """\
# Benchmarks

```sh
make bench
```

runs a bounded load on this machine and prints a table. It measures LyreDB and its
peers (mosquitto for MQTT, a bare uvicorn handler for HTTP) in one run, in turns, so
that they share the machine's state. This page is written by
`make bench ARGS="--markdown docs/benchmarks.md"`, and by nothing else.

How to read it:

- Figures are **per second of server CPU**, not per second of the clock: the load
  generators share the cores with the server, and a server that leaves the
  processor idle has room for more. All processes of a server count.
- Ratios travel between machines, absolute figures do not. Quote a figure only
  together with the machine, the command and the peer's figure of the same run.
- Load is a closed loop of bursts: the next one goes when the last has arrived at every
  subscriber. Servers that batch gain by it; messages that come one at a time cost every
  server about the same, because the kernel's work dominates.
- Every message carries a number, and every subscriber is checked for loss, doubles
  and order in the measured run. After durable writes each key's final value is read back.
- Durable writes wait for the disk. On a disk that lies about `fsync` they look
  better than they are.

## Figures

{table}

**Conditions:** {conditions}.

{details}
"""


def show(report: Report, console: Console) -> None:
    """Print the table, the conditions and what went wrong."""
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    table = Table(title="per second of server CPU", title_justify="left")
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="right" if number else "left")
    for comparison in report.comparisons:
        table.add_row(*cells(comparison))
    console.print(table)
    for comparison in report.comparisons:
        console.print(f"{comparison.name}: {detail(comparison)}", style="dim", highlight=False)
        if comparison.trouble:
            console.print(f"TROUBLE in {comparison.name}: {comparison.trouble}", markup=False)
    console.print(f"Conditions: {report.conditions}", highlight=False)


def cells(comparison: Comparison) -> tuple[str, ...]:
    """Return a row of the table."""
    sides = (comparison.subject, comparison.peer)
    return (
        comparison.name,
        *(_rate(side) for side in sides),
        "–" if comparison.ratio is None else f"{comparison.ratio:.2f}x",
        "–" if comparison.wanted is None else f"{comparison.wanted:g}x",
        " · ".join(_or_dash(side.load_share, ".2f") for side in sides),
        " · ".join(_or_dash(side.frames_per_read, ",.1f") for side in sides),
    )


def detail(comparison: Comparison) -> str:
    """Return unit, peer, conditions, rates on the clock and how far rounds are apart."""
    sides = (comparison.subject, comparison.peer)
    clock = ", ".join(f"{side.name} {_clock(side)}" for side in sides if side.per_cpu_s)
    return (
        f"{comparison.unit}; peer {comparison.peer.name}; {comparison.conditions}"
        f"{'; on the clock: ' if clock else ''}{clock}"
    )


def write_json(report: Report, path: Path) -> None:
    """Write everything, rounds included, with the derived figures beside them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        asdict(comparison)
        | {
            "ratio": comparison.ratio,
            "subject_per_cpu_s": comparison.subject.per_cpu_s,
            "peer_per_cpu_s": comparison.peer.per_cpu_s,
            "trouble": comparison.trouble,
        }
        for comparison in report.comparisons
    ]
    document = {"conditions": report.conditions, "comparisons": rows}
    path.write_text(json.dumps(document, indent=2) + "\n")


def write_page(report: Report, path: Path) -> None:
    """Write the page of the documentation."""
    lines = [" | ".join(COLUMNS), " | ".join(["---"] + ["---:"] * (len(COLUMNS) - 1))]
    lines += [" | ".join(cells(comparison)) for comparison in report.comparisons]
    details = [
        f"- **{comparison.name}**: {detail(comparison)}."
        + (f" Trouble: {comparison.trouble}." if comparison.trouble else "")
        for comparison in report.comparisons
    ]
    path.write_text(
        PAGE.format(
            table="\n".join(f"| {line} |" for line in lines),
            conditions=report.conditions,
            details="\n".join(details),
        )
    )


def _or_dash(number: float, form: str) -> str:
    return format(number, form) if number else "–"


def _rate(side: Side) -> str:
    if not side.per_cpu_s:
        return "–"
    return f"{side.per_cpu_s:,.0f}" + (f" ±{side.spread / 2:.0%}" if side.spread else "")


def _clock(side: Side) -> str:
    busy = " (the load was the bottleneck)" if side.load_busy > LOAD_BOUND else ""
    return f"{side.per_wall_s:,.0f}/s{busy}"
