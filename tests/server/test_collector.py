"""The garbage collector of a serving process."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import gc, weakref
from lyredb.server.collector import spare_collector

class Node: pass

spare_collector()
tracked = len(gc.get_objects())
node = Node()
node.itself, gone = node, weakref.ref(node)
del node
kept = [[] for _ in range(20_000)]
print(tracked < 1000, gone() is None)
"""


def test_the_collector_passes_over_the_start_and_still_finds_cycles() -> None:
    """Only what comes after the start is looked at, and a cycle in it goes away by itself."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
