"""Child: a worker that dies while it reads. Arguments: the data directory."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from lyredb.storage.engine import Engine
from tests.faults.killing import SETTINGS

if __name__ == "__main__":
    engine = Engine.open(Path(sys.argv[1]), settings=SETTINGS, readonly=True)
    with engine.snapshot() as snapshot:
        print(snapshot.position, flush=True)
        signal.pause()
