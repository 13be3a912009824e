"""Memory of a server with all its processes, from ``/proc`` (proc(5))."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from bench.peers.cpu import tree


def memory_bytes(root: int, kind: str = "Pss") -> int:
    """Return the memory of ``root`` and all processes below it.

    Their proportional set size: a page that several share counts once in the sum. Buffers
    of sockets are the kernel's and are not in it.

    Args:
        root: A process.
        kind: A row of ``smaps_rollup``: ``Pss`` is all, ``Pss_Anon`` what they have made
            themselves, without the pages of files, which the kernel takes back when it
            needs them.
    """
    return sum(_proportional_bytes(pid, kind) for pid in tree(root))


def _proportional_bytes(pid: int, kind: str) -> int:
    with suppress(OSError):  # it has ended
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(f"{kind}:"):
                return int(line.split()[1]) * 1024
    return 0
