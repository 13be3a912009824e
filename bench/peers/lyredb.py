"""LyreDB as users start it: ``lyredb run`` with an application of one table."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.load.spec import Target
from bench.peers.process import Started, StartFailed

USERNAME, PASSWORD = "bench", "bench-password"
SCHEMA = """\
type Bench @table @export {
    id: ID @primaryKey
    seq: Int
    text: String
}
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A started LyreDB: where its MQTT and its HTTP listener are."""

    mqtt: Target
    http: Target


@contextmanager
def lyredb(folder: Path) -> Iterator[Running]:
    """Run LyreDB with default settings and an empty data directory in ``folder``."""
    home = Path(tempfile.mkdtemp(prefix="lyredb-", dir=folder))
    application = home / "app"
    application.mkdir()
    (application / "schema.graphql").write_text(SCHEMA)
    command = [
        str(Path(sys.executable).with_name("lyredb")),
        *("run", str(application), "--data", str(home / "data")),
        *("--http-port", "0", "--mqtt-port", "0", "--operations-port", "0"),
    ]
    login = {"LYREDB_ADMIN_USERNAME": USERNAME, "LYREDB_ADMIN_PASSWORD": PASSWORD}
    with Started(command, extra=login) as process:
        try:
            ready = process.ready()
        except StartFailed as error:
            raise StartFailed(f"LyreDB {error}") from error
        yield Running(_target(process, ready, "mqtt"), _target(process, ready, "http"))


def _target(process: Started, ready: dict[str, object], protocol: str) -> Target:
    address = urlsplit(str(ready.get(protocol)))
    if not address.hostname or not address.port:
        raise StartFailed(f"LyreDB's ready line names no {protocol} address: {ready}")
    return Target(
        host=address.hostname,
        port=address.port,
        pid=process.pid,
        username=USERNAME,
        password=PASSWORD,
    )
