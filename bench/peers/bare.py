"""What has no more than it needs, as a yardstick: an uvicorn handler, a forwarder on uvloop."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.load.spec import Target
from bench.peers.lyredb import PASSWORD, USERNAME
from bench.peers.process import ROOT, Started, StartFailed, python


@contextmanager
def bare_handler(folder: Path, *, records: int, text: str, put: str) -> Iterator[Target]:
    """Run the handler with so many records; ``put`` is "parse" or "commit"."""
    home = tempfile.mkdtemp(prefix="bare-", dir=folder)
    command = python(
        str(ROOT / "bench" / "bare_handler.py"),
        *("--data", home, "--records", str(records), "--text", text),
        *("--credentials", f"{USERNAME}:{PASSWORD}", "--put", put),
    )
    with Started(command) as process:
        try:
            address = urlsplit(str(process.ready()["http"]))
        except StartFailed as error:
            raise StartFailed(f"the bare handler {error}") from error
        yield Target(port=address.port or 0, pid=process.pid, username=USERNAME, password=PASSWORD)


@contextmanager
def bare_forwarder() -> Iterator[Target]:
    """Run the forwarder, which does of a broker what its event loop and the kernel do."""
    with Started(python(str(ROOT / "bench" / "bare_forwarder.py"))) as process:
        try:
            address = urlsplit(str(process.ready()["mqtt"]))
        except StartFailed as error:
            raise StartFailed(f"the bare forwarder {error}") from error
        yield Target(port=address.port or 0, pid=process.pid)
