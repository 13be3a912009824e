"""The part of the benchmark page about sessions and subscriptions, from what was measured last."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bench.result import Report

LATEST: Final = Path(__file__).resolve().parents[1] / "results" / "sessions.json"
_HEAD: Final = """\

## Sessions and subscriptions

```sh
make bench-sessions
```

measures what clients cost that sleep or subscribe, and writes the file that this part of the page
is made of. A wake is everything from CONNECT to the close: the session is taken up and written,
what waits is found in the log, sent, acknowledged and noted. The clients come back in groups of
100, and each has to get exactly what waited for it. The full size is
`make bench-sessions ARGS="--entries 10000000 --wakes 10000"`.
"""
_COLUMNS: Final = "| what | unit | LyreDB | wanted | met |\n| --- | ---: | ---: | ---: | ---: |"
_MET: Final = {True: "yes", False: "NO", None: "–"}


def write_part(file: Path, title: str, report: Report) -> None:
    """Replace one part of a run in a file of JSON, which keeps the others as they are."""
    parts = json.loads(file.read_text()) if file.exists() else {}
    figures = [asdict(one) for one in report.figures]
    parts[title] = {"conditions": report.conditions, "figures": figures}
    file.write_text(json.dumps(parts, indent=2) + "\n")


def section(file: Path = LATEST) -> str:
    """Return it in Markdown; empty when nothing was measured yet."""
    if not file.exists():
        return ""
    parts = json.loads(file.read_text())
    return "\n".join([_HEAD, *(line for part in parts.values() for line in _part(part))])


def renew(page: Path, file: Path = LATEST) -> None:
    """Bring the section of a page that was written before up to what was measured last."""
    before, _, _ = page.read_text().partition(_HEAD)
    page.write_text(before.rstrip("\n") + "\n" + section(file))


def _part(part: Mapping[str, Any]) -> Iterator[str]:
    figures: Sequence[Mapping[str, object]] = part["figures"]
    yield _COLUMNS
    yield from map(_row, figures)
    yield f"\n**Conditions:** {part['conditions']}.\n"
    yield from _conditions(figures)
    yield ""


def _row(figure: Mapping[str, object]) -> str:
    value = figure["subject"]
    met = figure["is_met"]
    cells = (
        figure["name"],
        figure["unit"],
        _amount(value) if isinstance(value, float | int) else "–",
        figure["wanted"] or "–",
        _MET[met if isinstance(met, bool) else None],
    )
    return f"| {' | '.join(map(str, cells))} |"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _conditions(figures: Sequence[Mapping[str, object]]) -> Iterator[str]:
    """A line for each different condition, with the names of what was measured under it."""
    by_condition: dict[str, list[str]] = {}
    for one in figures:
        by_condition.setdefault(str(one["conditions"]), []).append(str(one["name"]))
        if one["trouble"]:
            yield f"- Trouble in {one['name']}: {one['trouble']}."
    for condition, names in by_condition.items():
        yield f"- {'; '.join(names)}: {condition}."
