"""Very many sessions that sleep: what they take, what a start costs, and their end at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bench.load.client import LoadFailed
from bench.load.spec import Target
from bench.peers.cpu import cpu_s, tree
from bench.peers.lyredb import lyredb_at
from bench.peers.process import StartFailed
from bench.result import Figure
from bench.sessions.filling import Sleeper, disk_bytes, filling, make_home, session_bytes
from bench.worst.cost import REMEMBER, own_bytes
from bench.worst.neighbour import Neighbour
from lyredb.sessions import rows
from lyredb.storage.engine import Engine
from lyredb.storage.layout import SESSION_SLOT

FILTERS: Final = 2
DISK_BYTES: Final = 1_000
P99_MS: Final = 20.0
SETTLE_S: Final = 2.0
EXPIRED_WITHIN_S: Final = 240.0
_LOOK_S: Final = 0.5
_HOUR_S: Final = 3_600


@dataclass(slots=True)
class Started:
    """A server that has just been started.

    Attributes:
        ready_s: Until it was ready.
        cpu_s: Of all its processes until then.
        process_bytes: What each of its processes has for itself, the smallest first.
    """

    ready_s: float
    cpu_s: float
    process_bytes: list[int]


@dataclass(slots=True)
class Ended:
    """The end of all sessions at once.

    Attributes:
        took_s: From the first that was removed to the last.
        cpu_s: Of all processes meanwhile.
        p99_ms: Of others' small operations, before and meanwhile.
    """

    left: int
    took_s: float = 0.0
    cpu_s: float = 0.0
    before_ms: dict[str, float] = field(default_factory=dict)
    p99_ms: dict[str, float] = field(default_factory=dict)


def sleepers(count: int, since_ms: int, expiry_s: int) -> Iterator[Sleeper]:
    """Devices with two filters each: one of their own, and one that all share."""
    for number in range(count):
        name = f"device-{number:06d}"
        filters = (f"Bench/{name}/commands", "Bench/announcements/#")
        yield Sleeper(name, filters, since_ms, expiry_s)


@contextmanager
def _served(home: Path) -> Iterator[tuple[Target, Started]]:
    began = time.monotonic()
    with lyredb_at(home, extra=REMEMBER) as running:
        ready_s = time.monotonic() - began
        target = running.mqtt
        used_s = cpu_s(tree(target.pid))
        time.sleep(SETTLE_S)
        sizes = sorted(own_bytes(pid, alone=True) for pid in tree(target.pid))
        yield target, Started(ready_s, used_s, sizes)


def expire(home: Path, count: int) -> Ended:
    """Run a server whose sessions are all over, until the last of them is removed.

    Raises:
        StartFailed, LoadFailed: It does not run.
    """
    with _served(home) as (target, _), Neighbour(target) as neighbour:
        ended = Ended(count)
        pids = tree(target.pid)
        deadline = time.monotonic() + EXPIRED_WITHIN_S
        began = used = 0.0
        while ended.left and time.monotonic() < deadline:
            until = time.monotonic() + _LOOK_S
            now, now_used = time.monotonic(), cpu_s(pids)
            while time.monotonic() < until:
                neighbour.round()
            ended.left = _count(home)
            if not began and ended.left < count:
                began, used = now, now_used
                ended.before_ms = neighbour.quantile_ms(0.99)
                neighbour.forget()
                neighbour.round()
        ended.took_s = time.monotonic() - began
        ended.cpu_s = cpu_s(pids) - used
        ended.p99_ms = neighbour.quantile_ms(0.99)
    return ended


def _count(home: Path) -> int:
    engine = Engine.open(home / "data", readonly=True)
    try:
        with engine.snapshot() as snapshot:
            found = snapshot.scan_stored(SESSION_SLOT, rows.FIRST_KEY, rows.STOP_KEY)
            return sum(1 for _ in found)
    finally:
        engine.close()


def sleeping(folder: Path, count: int) -> list[Figure]:
    """Measure so many sessions."""
    try:
        return [*kept(folder / "sleeping", count), _ended(folder / "over", count)]
    except (StartFailed, LoadFailed) as error:
        return [Figure("sleeping sessions", "", "", None, {}, trouble=str(error))]


def kept(home: Path, count: int) -> list[Figure]:
    """Measure what they take, and what a start costs with them; ``home`` is new."""
    make_home(home)
    with filling(home):
        pass
    with _served(home) as (_, empty):
        pass
    before, before_rows = disk_bytes(home), session_bytes(home)
    with filling(home) as made:
        made.sleep(sleepers(count, time.time_ns() // 1_000_000, _HOUR_S * 24))
    disk = (disk_bytes(home) - before) / count
    kept = (session_bytes(home) - before_rows) / count
    with _served(home) as (_, full):
        pass
    grown = [b - a for a, b in zip(empty.process_bytes, full.process_bytes, strict=True)]
    who = f"{count:,} sleeping sessions, each with {FILTERS} filters, one of them its own"
    return [
        Figure(
            "disk of a sleeping session",
            "bytes",
            f"{who}; pages of their records and rows",
            kept,
            {},
            f"at most {DISK_BYTES:,}",
            kept <= DISK_BYTES,
        ),
        Figure(
            "disk of a session with its history",
            "bytes",
            f"{who}; growth of the data directory by each, with the three entries of the log"
            " that say that it began, subscribed and slept, until the log drops them",
            disk,
            {},
        ),
        Figure(
            "memory of a worker for a sleeping session",
            "bytes",
            f"{who}; the process that has grown most, anonymous memory after the start; all"
            f" processes together {sum(grown) / count:,.0f}",
            max(grown) / count,
            {},
        ),
        Figure(
            "start with sleeping sessions",
            "s",
            f"{who}; from the command to its ready line, one worker; {full.cpu_s:.1f} s of CPU;"
            f" an empty server takes {empty.ready_s:.1f} s and {empty.cpu_s:.1f} s of CPU",
            full.ready_s,
            {},
        ),
    ]


def _ended(home: Path, count: int) -> Figure:
    long_ago = time.time_ns() // 1_000_000 - 2 * _HOUR_S * 1_000
    with filling(home) as made:
        made.sleep(sleepers(count, long_ago, _HOUR_S))
    ended = expire(home, count)
    told = ", ".join(f"{name} {value:.1f} ms" for name, value in ended.p99_ms.items())
    before = ", ".join(f"{name} {value:.1f} ms" for name, value in ended.before_ms.items())
    worst = max(ended.p99_ms.values())
    return Figure(
        "p99 of others while all sessions end at once",
        "ms",
        f"{count:,} sessions are over at the start; removed within {ended.took_s:.1f} s from the"
        f" first to the last, {ended.cpu_s / count * 1e6:,.0f} µs of CPU each with the others'"
        f" work; small PUT, GET and publish meanwhile {told}, before {before}",
        worst,
        {},
        f"at most {P99_MS:g} ms",
        worst <= P99_MS,
        f"{ended.left:,} sessions are left" if ended.left else "",
    )
