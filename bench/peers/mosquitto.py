"""mosquitto as a peer, with limits off and nothing logged, so that it shows its best."""

from __future__ import annotations

import getpass
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load.spec import Target
from bench.peers.process import Started, StartFailed

START_WITHIN_S = 5.0
CONFIGURATION = """\
listener {port} 127.0.0.1
user {user}
allow_anonymous true
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
log_type none
sys_interval 0
persistence {persistence}
persistence_location {folder}/
"""


def find() -> str:
    """Return the program's path; Debian has it in /usr/sbin, which is not on every PATH."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise StartFailed("mosquitto is not installed (Debian: apt-get install mosquitto)")
    return found


def version() -> str:
    """Return the version as mosquitto prints it."""
    said = subprocess.run([find(), "-h"], capture_output=True, text=True, timeout=5).stdout
    return said.split("\n", 1)[0].removeprefix("mosquitto version ").strip()


def free_port() -> int:
    """Return a port that was free a moment ago: mosquitto cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def mosquitto(folder: Path, *, persistent: bool = False) -> Iterator[Target]:
    """Run mosquitto while the context lasts.

    With ``persistent`` it keeps its state and writes it every 30 minutes and when it
    ends (its default); it never waits for the disk before an acknowledgement.
    """
    port = free_port()
    home = Path(tempfile.mkdtemp(prefix="mosquitto-", dir=folder))
    configuration = home / "mosquitto.conf"
    configuration.write_text(
        CONFIGURATION.format(
            port=port,
            user=getpass.getuser(),
            folder=home,
            persistence="true" if persistent else "false",
        )
    )
    with Started([find(), "-c", str(configuration)]) as process:
        _await_port(process, port)
        yield Target(port=port, pid=process.pid)


def _await_port(process: Started, port: int) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while process.is_running() and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise StartFailed(f"mosquitto {process.last_words()}")
