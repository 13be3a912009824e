"""CPU seconds of a server with all its processes, from ``/proc`` (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class _Stat:
    """The fields of ``/proc/PID/stat`` that we need; ``ended_ticks`` is of reaped children."""

    parent: int
    own_ticks: int
    ended_ticks: int


def _read(pid: int) -> _Stat | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None  # it ended between the listing and the reading
    # The name, in parentheses, may contain anything; what follows its last ")" is fixed.
    fields = line[line.rindex(")") + 2 :].split()
    user, system, ended_user, ended_system = map(int, fields[11:15])
    return _Stat(int(fields[1]), user + system, ended_user + ended_system)


def tree(root: int) -> list[int]:
    """Return ``root`` and all processes below it that live now."""
    parents = {
        pid: stat.parent
        for name in os.listdir("/proc")
        if name.isdigit() and (stat := _read(pid := int(name)))
    }
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_s(pids: list[int]) -> float:
    """Return user plus system CPU seconds of these processes and their reaped children.

    Resolution: one tick, 10 ms on Linux.
    """
    stats = [stat for pid in pids if (stat := _read(pid))]
    return sum(stat.own_ticks + stat.ended_ticks for stat in stats) / TICKS_PER_S
