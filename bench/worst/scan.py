"""Somebody subscribes to everything, a million records, while others do small things."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.load.spec import Target
from bench.peers.lyredb import lyredb
from bench.peers.process import END_WITHIN_S, environment, python
from bench.result import Figure
from bench.worst.cost import REMEMBER, Watch
from bench.worst.filling import fill, key
from bench.worst.neighbour import Neighbour
from bench.worst.reader import Reading

P99_MS: Final = 20.0
GROWTH_BYTES: Final = 32_000_000
QUIET_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Scan:
    """One subscription to everything, and what the others felt before and meanwhile.

    Attributes:
        before_ms: The 99th percentile of each, so ``meanwhile_ms``.
        median_ms: Meanwhile.
    """

    reading: Reading
    before_ms: dict[str, float]
    meanwhile_ms: dict[str, float]
    median_ms: dict[str, float]
    growth_bytes: int
    rounds: int


def scan(target: Target, kind: str, records: int) -> Scan:
    """Measure one subscription to everything on a server that was filled.

    Raises:
        LoadFailed: A neighbour was not served at all.
    """
    with Neighbour(target) as neighbour:
        until = time.monotonic() + QUIET_S
        while time.monotonic() < until:
            neighbour.round()
        before_ms = neighbour.quantile_ms(0.99)
        neighbour.forget()
        with Watch(target.pid) as watch, _reader(target, kind, records) as process:
            neighbour.round()
            while process.poll() is None:
                neighbour.round()
            output, _ = process.communicate()
        return Scan(
            Reading(**json.loads(output)),
            before_ms,
            neighbour.quantile_ms(0.99),
            neighbour.quantile_ms(0.5),
            watch.growth_bytes,
            len(neighbour.took_s["GET"]),
        )


@contextmanager
def _reader(target: Target, kind: str, records: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        python("-m", "bench.worst.reader"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
        start_new_session=True,
    )
    assert process.stdin is not None
    job = {"target": asdict(target), "kind": kind, "last_key": key(records - 1)}
    process.stdin.write(json.dumps(job))
    process.stdin.close()
    process.stdin = None
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(END_WITHIN_S)
        assert process.stdout is not None
        process.stdout.close()


def scans(folder: Path, records: int) -> list[Figure]:
    """Fill a server, and measure a subscriber over MQTT and one over SSE."""
    figures = []
    with lyredb(folder, extra=REMEMBER) as running:
        began = time.monotonic()
        fill(running.mqtt, records)
        filled_s = time.monotonic() - began
        for kind in ("mqtt", "sse"):
            figures += _figures(scan(running.mqtt, kind, records), kind, records, filled_s)
    return figures


def _figures(found: Scan, kind: str, records: int, filled_s: float) -> list[Figure]:
    how = "`#` over MQTT" if kind == "mqtt" else "the table over SSE"
    conditions = (
        f"{records:,} records of about 100 bytes, written over MQTT in {filled_s:.0f} s; one"
        f" subscriber of {how} read {found.reading.bytes / 1e6:,.0f} MB in"
        f" {found.reading.wall_s:.1f} s; meanwhile {found.rounds:,} rounds of a small PUT, GET and"
        f" publish, one after the other; p99 {_list(found.meanwhile_ms)}, before it"
        f" {_list(found.before_ms)}; memory of all processes without the store's pages"
    )
    trouble = found.reading.problem
    worst = max(found.meanwhile_ms.values())
    return [
        Figure(
            f"p99 of others while {how} is read",
            "ms",
            conditions,
            None if trouble else worst,
            {},
            f"at most {P99_MS:g} ms",
            not trouble and worst <= P99_MS,
            trouble,
        ),
        Figure(
            f"memory while {how} is read",
            "MB",
            conditions,
            None if trouble else found.growth_bytes / 1e6,
            {},
            f"at most {GROWTH_BYTES / 1e6:g} MB more",
            not trouble and found.growth_bytes <= GROWTH_BYTES,
            trouble,
        ),
    ]


def _list(latencies: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} ms" for name, value in latencies.items())
