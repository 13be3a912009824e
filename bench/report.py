"""Show a report: as a table on the terminal, as JSON, as the page of the documentation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.result import Comparison, Figure, Report, Side
from bench.sessions.page import section

COLUMNS = (
    *("scenario", "form", "beside", "LyreDB", "peer", "ratio", "wanted", "met"),
    *("load/server CPU", "frames/read"),
)
FIGURE_COLUMNS = ("what", "unit", "LyreDB", "others", "wanted", "met")
MET = {True: "yes", False: "NO", None: "–"}
PLAIN_WIDTH = 165
LOAD_BOUND = 0.95
"""A load that is this busy was the bottleneck on the clock; per CPU second still holds."""

PAGE = """\
# Benchmarks

```sh
make bench-compiled
```

runs a bounded load on this machine, for less than 25 minutes, and prints a table. It
measures LyreDB with one worker, as plain Python and compiled, and its peers (mosquitto and
nats-server for messages, a bare uvicorn handler for HTTP) in one run, in turns, so that they
share the machine's state. What is wanted of the two forms differs. This page is written by
`make bench-compiled ARGS="--markdown docs/benchmarks.md"`, and by nothing else;
`make bench` leaves the compiled form out and takes less than 20 minutes.

How to read it:

- Figures are **per second of server CPU**, not per second of the clock: the load
  generators share the cores with the server, and a server that leaves the
  processor idle has room for more. All processes of a server count: of LyreDB the
  supervisor, the writer and the worker.
- Ratios travel between machines, absolute figures do not. Quote a figure only
  together with the machine, the command and the peer's figure of the same run.
- Load is a closed loop of bursts: the next one goes when the last has arrived at every
  subscriber. Servers that batch gain by it; messages that come one at a time cost every
  server about the same, because the kernel's work dominates.
- Every message carries a number, and every subscriber is checked for loss, doubles
  and order in the measured run. After durable writes each key's final value is read back
  (from JetStream, which has to be asked for each, of 2,000 keys).
- mosquitto runs without limits on messages in flight and queued and without a log, and
  nats-server with its defaults. mosquitto never waits for the disk, so it is no peer for
  durable writes.
- Tables are beside SQLite with the same data and the same questions: in the process that
  asks, with prepared statements, its answers made JSON. That is no peer but a yardstick: how
  much a query costs where there is no server. "In process" has LyreDB answer as SQLite does;
  "over HTTP" counts all that a server does besides, which SQLite does not. The first answers of
  each kind are compared before they count. `make bench-tables` does it with 100,000 and a
  million records (`ARGS="--records 100000 10000000"` for other sizes), and says how much more
  an answer costs where there are more.
- With durable sessions, and with a subscriber that is away, LyreDB answers after fsync of its
  log; mosquitto keeps sessions in memory until it ends, so they do not promise the same. Who
  was away comes back in the end and has to get everything, outside the measured time.
- Where messages are paced, latency runs from the moment at which a message was due.
- Durable writes wait for the disk. On a disk that lies about `fsync` they look
  better than they are.

- Where messages come one at a time, and in fan-out, "bare uvloop" stands beside: a forwarder
  on our event loop that copies bytes to all subscribers and knows nothing of MQTT. It shows
  what is left for a broker to win there.

## What it misses, and why

- **Messages that come alone**, paced or one at a time to 100, cost every broker a wait, a
  `read`, and a `write` for each subscriber; beside that there is little. What LyreDB adds is
  the difference to the bare forwarder in the table: a message is written
  [in the call that reads it](design/0033-frames-that-come-alone.md). What is left to do: fewer
  calls for each subscriber.
- **10,000 devices** are the same, and each message also finds the state of its connection
  cold. What is left to do: fewer objects on a message's way through a connection, and fewer
  timers in an idle server.
- **Fan-out of the compiled form** costs what it does plain: a `write` for each subscriber and
  burst, and little Python that compiling could take away: the bare forwarder in the table is
  the most that there is to win. What is left to do beyond it: one call of the
  system for many subscribers (io_uring).
- **PUT** waits for a commit that the handler beside it does not make, and goes through two
  processes: [where its time goes](design/0032-calls-and-objects-of-a-durable-write.md), and the
  plan.

## Figures

{table}

{figures}

**Conditions:** {conditions}.

{details}
"""


def show(report: Report, console: Console) -> None:
    """Print the table, the conditions and what went wrong."""
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    comparisons = [cells(each) for each in report.comparisons]
    _print_table(console, "per second of server CPU", COLUMNS, comparisons)
    figures = [figure_cells(each) for each in report.figures]
    _print_table(console, "latency, memory, connections", FIGURE_COLUMNS, figures)
    for line in details(report):
        console.print(line, style="dim", highlight=False, markup=False)
    for each in report.outcomes:
        if each.trouble:
            console.print(f"TROUBLE in {each.name}: {each.trouble}", markup=False)
    console.print(f"Conditions: {report.conditions}", highlight=False)


def _print_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    if not rows:
        return
    table = Table(title=title, title_justify="left")
    for number, name in enumerate(columns):
        table.add_column(name, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def cells(comparison: Comparison) -> tuple[str, ...]:
    """Return a row of the table."""
    sides = comparison.sides
    return (
        comparison.name,
        comparison.form,
        comparison.peer.name if comparison.peer else "–",
        _rate(comparison.subject),
        _rate(comparison.peer) if comparison.peer else "–",
        "–" if comparison.ratio is None else f"{comparison.ratio:.2f}x",
        "–" if comparison.wanted is None else f"{comparison.wanted:g}x",
        MET[comparison.is_met],
        " · ".join(_or_dash(side.load_share, ".2f") for side in sides),
        " · ".join(_or_dash(side.frames_per_read, ",.1f") for side in sides),
    )


def figure_cells(figure: Figure) -> tuple[str, ...]:
    """Return a row of the second table."""
    others = ", ".join(f"{name} {_amount(value)}" for name, value in figure.peers.items())
    mine = "–" if figure.subject is None else _amount(figure.subject)
    return (figure.name, figure.unit, mine, others or "–", figure.wanted or "–", MET[figure.is_met])


def details(report: Report) -> list[str]:
    """Return a line for each scenario: unit, conditions, and rates on the clock by peer."""
    lines: dict[str, str] = {}
    clocks: dict[str, dict[str, str]] = {}
    for each in report.comparisons:
        lines[each.name] = f"{each.name}: {each.unit}; {each.conditions}; on the clock: "
        told = clocks.setdefault(each.name, {})
        told.update((side.name, _clock(side)) for side in each.sides)
    for name, told in clocks.items():
        lines[name] += ", ".join(told.values())
    for figure in report.figures:
        if not any(figure.conditions in line for line in lines.values()):
            lines[figure.name] = f"{figure.name}: {figure.conditions}"
    return list(lines.values())


def write_json(report: Report, path: Path) -> None:
    """Write everything, rounds included, with the derived figures beside them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        asdict(comparison)
        | {
            "ratio": comparison.ratio,
            "subject_per_cpu_s": comparison.subject.per_cpu_s,
            "peer_per_cpu_s": comparison.peer.per_cpu_s if comparison.peer else None,
            "trouble": comparison.trouble,
        }
        for comparison in report.comparisons
    ]
    figures = [asdict(figure) for figure in report.figures]
    document = {"conditions": report.conditions, "comparisons": rows, "figures": figures}
    path.write_text(json.dumps(document, indent=2) + "\n")


def write_page(report: Report, path: Path) -> None:
    """Write the page of the documentation."""
    troubles = {each.name: each.trouble for each in report.outcomes}
    lines = [
        f"- {line}." + (f" Trouble: {troubles[name]}." if troubles.get(name) else "")
        for line in details(report)
        if (name := line.partition(": ")[0])
    ]
    path.write_text(
        PAGE.format(
            table=_markdown(COLUMNS, [cells(each) for each in report.comparisons]),
            figures=_markdown(FIGURE_COLUMNS, [figure_cells(each) for each in report.figures]),
            conditions=report.conditions,
            details="\n".join(lines),
        )
        + section()
    )


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    heads = [columns, ["---"] + ["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (*heads, *rows))


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _or_dash(number: float, form: str) -> str:
    return format(number, form) if number else "–"


def _rate(side: Side) -> str:
    if not side.per_cpu_s:
        return "–"
    return f"{side.per_cpu_s:,.0f}" + (f" ±{side.spread / 2:.0%}" if side.spread else "")


def _clock(side: Side) -> str:
    busy = " (the load was the bottleneck)" if side.load_busy > LOAD_BOUND else ""
    return f"{side.name} {side.per_wall_s:,.0f}/s{busy}"
