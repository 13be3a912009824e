"""Memory and CPU of a server, as the system tells (proc(5))."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.peers.cpu import tree

LOOK_S: Final = 0.05
REMEMBER: Final = {"LYREDB_AUTHENTICATION_CACHE_TTL": "3600"}
"""Settings of a server that is measured, as variables. By default a login is checked anew after
30 s, which takes 64 MB and 0.1 s, whatever else is going on."""


def own_bytes(root: int, *, alone: bool = False) -> int:
    """Return the memory that a process and all below it have for themselves.

    The store's pages are not in it: the system shares them, and takes them back when it
    needs room.

    Args:
        root: The process.
        alone: Without those below it.
    """
    return sum(_own_bytes(pid) for pid in ([root] if alone else tree(root)))


def _own_bytes(pid: int) -> int:
    with suppress(OSError):  # it has ended
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    return 0


class Watch:
    """Looks at a server's own memory all the while; a context manager.

    Attributes:
        growth_bytes: The most that it has had above what it had at the start.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._before = own_bytes(root)
        self.growth_bytes = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._thread.join()
        self._note()

    def _look(self) -> None:
        while not self._stopping.wait(LOOK_S):
            self._note()

    def _note(self) -> None:
        self.growth_bytes = max(self.growth_bytes, own_bytes(self._root) - self._before)
