"""The processes of a server, as the system tells: whose child is what, and who is left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

DEADLINE_S = 20.0


def eventually(holds: Callable[[], object], what: str, within_s: float = DEADLINE_S) -> None:
    """Look again and again until something holds; fail when it takes too long."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


def children_of(pid: int) -> dict[str, int]:
    """The children of a supervisor by title: ``writer``, ``worker-1``."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _parent(folder) == pid and (title := _title(folder)):
            found[title] = int(folder.name)
    return found


def is_alive(pid: int) -> bool:
    """There is a process of this number that is no zombie."""
    try:
        return _state(Path(f"/proc/{pid}")) not in ("Z", "X")
    except OSError:
        return False


def assert_all_end(pids: list[int]) -> None:
    eventually(lambda: not any(map(is_alive, pids)), f"the end of {pids}")


def descriptors_of(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _stat(folder: Path) -> list[str]:
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _state(folder: Path) -> str:
    return _stat(folder)[0]


def _parent(folder: Path) -> int:
    try:
        state, parent = _stat(folder)[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent)


def _title(folder: Path) -> str:
    try:
        words = (folder / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    if b"lyredb.server.processes" not in words:
        return ""
    return words[words.index(b"lyredb.server.processes") + 1].decode()
