"""CPU of a server counts with all its processes, and nothing outlives the bench."""

from __future__ import annotations

import os
import time
from pathlib import Path

from bench.peers.cpu import cpu_s, tree
from bench.peers.process import Started, python

BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
PARENT = f"""
import json, os, subprocess, sys, time
ended = subprocess.run([sys.executable, "-c", {BURN!r}])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(json.dumps({{"ready": True, "child": child.pid}}), flush=True)
time.sleep(60)
"""


def has_ended(pid: int) -> bool:
    """Tell whether ``pid`` is gone, or a zombie that waits for init; allow 5 s for the signal."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except OSError:
            return True
        if state == "Z":
            return True
        os.sched_yield()
    return False


def test_cpu_of_children_counts_and_they_end_with_the_server() -> None:
    """What a child burnt that has ended is the server's; one that lives is in the tree."""
    with Started(python("-c", PARENT)) as server:
        child = int(str(server.ready()["child"]))
        assert tree(server.pid) == [server.pid, child]
        assert cpu_s(tree(server.pid)) >= 0.25  # counted in ticks of 10 ms, rounded down
    assert all(has_ended(pid) for pid in (server.pid, child))
