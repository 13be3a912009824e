"""mosquitto as a peer, with limits off and nothing logged, so that it shows its best."""

from __future__ import annotations

import getpass
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load.spec import Target
from bench.peers.certificate import Certificate
from bench.peers.ports import await_port, free_port
from bench.peers.process import Started, StartFailed

CONFIGURATION = """\
listener {port} 127.0.0.1
{tls}user {user}
allow_anonymous true
set_tcp_nodelay true
max_inflight_messages 0
max_queued_messages 0
log_type none
sys_interval 0
persistence {persistence}
persistence_location {folder}/
"""
TLS = """\
certfile {certificate.chain}
keyfile {certificate.key}
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


@contextmanager
def mosquitto(
    folder: Path, *, persistent: bool = False, certificate: Certificate | None = None
) -> Iterator[Target]:
    """Run mosquitto while the context lasts.

    With ``persistent`` it keeps its state and writes it every 30 minutes and when it
    ends (its default); it never waits for the disk before an acknowledgement. With a
    certificate it listens for TLS.
    """
    port = free_port()
    home = Path(tempfile.mkdtemp(prefix="mosquitto-", dir=folder))
    text = CONFIGURATION.format(
        port=port,
        user=getpass.getuser(),
        folder=home,
        persistence="true" if persistent else "false",
        tls="" if certificate is None else TLS.format(certificate=certificate),
    )
    configuration = home / "mosquitto.conf"
    configuration.write_text(text)
    with Started([find(), "-c", str(configuration)]) as process:
        await_port(process, port, "mosquitto")
        authority = "" if certificate is None else str(certificate.authority)
        yield Target(port=port, pid=process.pid, authority=authority)
