"""What a server takes: memory, descriptors, the log; and whether that grows without bound."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import httpx

from tests.e2e.server_process import ServerProcess
from tests.server.process_tree import children_of

MIB: Final = 1 << 20
JUDGED_S: Final = 90.0
"""A shorter run says nothing about growth: caches and pools fill first."""
MEMORY_SLACK_BYTES: Final = 16 * MIB
MEMORY_SLACK: Final = 0.15
DESCRIPTORS_SLACK: Final = 8
LOG_SLACK: Final = 0.2
LOG_SLACK_BYTES: Final = 16 * MIB
"""Some segments, whose size hangs on where the sample falls between two."""

_METRIC: Final = re.compile(r"^lyredb_(\w+)(?:\{[^}]*\})? ([\d.e+]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Sample:
    """One look at a server.

    Attributes:
        at_s: Seconds since the start of the run.
        memory: Bytes of each process that no file has, by name.
        descriptors: Open files and connections of each process.
        log_bytes: Size of the log.
        log_floor: Its oldest position.
        data_bytes: What the data directory takes on disk.
    """

    at_s: float
    memory: Mapping[str, int]
    descriptors: Mapping[str, int]
    log_bytes: int
    log_floor: int
    data_bytes: int


def processes_of(server: ServerProcess) -> dict[str, int]:
    """Process numbers by name."""
    return {"supervisor": server.process.pid, **children_of(server.process.pid)}


def look(server: ServerProcess, at_s: float, last: Sample | None) -> Sample:
    """Look at a server. What cannot be read, as a process is being started, is left out."""
    memory, descriptors = {}, {}
    for name, pid in processes_of(server).items():
        try:
            memory[name] = _anonymous_bytes(pid)
            descriptors[name] = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:
            continue  # it has just gone
    numbers = metrics_of(server)
    return Sample(
        at_s,
        memory,
        descriptors,
        int(numbers.get("log_size_bytes", last.log_bytes if last else 0)),
        int(numbers.get("log_floor_position", last.log_floor if last else 0)),
        sum(_size(file) for file in server.data.rglob("*")),
    )


def _anonymous_bytes(pid: int) -> int:
    """Without pages of the data file, which the system may take back."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _size(file: Path) -> int:
    try:
        return file.stat().st_blocks * 512
    except OSError:
        return 0


def metrics_of(server: ServerProcess) -> dict[str, float]:
    """The server's own numbers, of all processes together; none while it is being started."""
    try:
        text = httpx.get(f"{server.ready['operations']}/metrics", timeout=5.0).text
    except httpx.HTTPError:
        return {}
    found: dict[str, float] = {}
    for name, value in _METRIC.findall(text):
        # Several processes see one log: the largest; connections are of all.
        is_shared = name.startswith("log_")
        found[name] = (
            max(found.get(name, 0.0), float(value))
            if is_shared
            else (found.get(name, 0.0) + float(value))
        )
    return found


def growth_problems(samples: Sequence[Sample]) -> list[str]:
    """What has grown from the second third of a run to the last one by more than it may."""
    if not samples or samples[-1].at_s < JUDGED_S:
        return []
    third = samples[-1].at_s / 3
    middle = [one for one in samples if third <= one.at_s < 2 * third]
    end = [one for one in samples if one.at_s >= 2 * third]
    wrong = []
    for name in end[-1].memory:
        before, after = (_median([one.memory.get(name) for one in part]) for part in (middle, end))
        if after > before * (1 + MEMORY_SLACK) + MEMORY_SLACK_BYTES:
            wrong.append(f"memory of {name}: {before / MIB:.1f} MiB, then {after / MIB:.1f} MiB")
        before, after = (
            _median([one.descriptors.get(name) for one in part]) for part in (middle, end)
        )
        if after > before + DESCRIPTORS_SLACK:
            wrong.append(f"descriptors of {name}: {before:.0f}, then {after:.0f}")
    before, after = (max(one.log_bytes for one in part) for part in (middle, end))
    if after > before * (1 + LOG_SLACK) + LOG_SLACK_BYTES:
        wrong.append(f"the log: {before / MIB:.1f} MiB, then {after / MIB:.1f} MiB")
    return wrong


def _median(values: Sequence[int | None]) -> float:
    known = [value for value in values if value is not None]
    return median(known) if known else 0.0
