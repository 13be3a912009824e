"""The metrics as a page of the docs: ``python -m lyredb.server.metrics.page``.

Writes ``docs/metrics.md``; a test fails while the page is not what this makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Final

from lyredb.server.metrics.table import METRICS, REPORT_AGE, MetricRow

_INTRODUCTION: Final = """\
# Metrics

<!-- Made by `python -m lyredb.server.metrics.page`; do not edit. -->

`GET /metrics` on the operations port (9925) answers with the numbers of every process of the
server, in the text format of Prometheus, or as OpenMetrics when the request asks for that.
Clients on the same machine need no login; `metrics.anonymous` in [Settings](settings.md)
changes that, and a super user's Basic credentials always do.

```yaml
scrape_configs:
  - job_name: lyredb
    static_configs:
      - targets: ["127.0.0.1:9925"]
```

Every metric has the labels `process` (`supervisor`, `writer`, `worker`; `server` where all is
one process) and `worker` (its number from 1, empty for the others). It does not matter which
worker answers: each tells its numbers to the writer process once a second, and the answer has
all of them. Numbers of a process that was restarted begin at 0 again.

What is worth an alert: `lyredb_storage_failed` is not 0, `lyredb_process_report_age_seconds`
above 5, `lyredb_process_open_fds` near `lyredb_process_max_fds`, a growing
`lyredb_writer_waiting_transactions`, `lyredb_mqtt_messages_dropped_total` or
`lyredb_logins_refused_total` that rise faster than they should. How far a worker is behind:
`max(lyredb_log_position) - lyredb_log_position`.
"""

_TITLES: Final = {
    "": "Every process",
    "process": "What a process uses",
    "engine": "Store",
    "writer": "Writer",
    "remote": "A worker's way to the writer",
    "claims": "Client identifiers",
    "hub": "Delivery",
    "peers": "Between workers",
    "network": "Connections",
    "authenticator": "Logins",
    "http": "HTTP port",
    "operations": "Operations port",
    "sse": "SSE",
    "websocket": "WebSocket",
    "mqtt": "MQTT",
}


def page(rows: Iterable[MetricRow]) -> str:
    """Return the page, in Markdown."""
    sections = groupby((REPORT_AGE, *rows), key=lambda row: row.room)
    parts = [
        f"\n## {_TITLES.get(room, room)}\n\n| Metric | Kind | Meaning |\n|---|---|---|\n"
        + "".join(_lines(of_room))
        for room, of_room in sections
    ]
    return _INTRODUCTION + "".join(parts)


def _lines(rows: Iterable[MetricRow]) -> Iterator[str]:
    for row in rows:
        labels = ",".join(f'{name}="{value}"' for name, value in row.labels.items())
        shown = f"{row.name}{{{labels}}}" if labels else row.name
        yield f"| `{shown}` | {row.kind} | {row.sentence} |\n"


def main() -> None:
    """Write the page of this tree."""
    Path(__file__).parents[4].joinpath("docs", "metrics.md").write_text(page(METRICS))


if __name__ == "__main__":
    main()
