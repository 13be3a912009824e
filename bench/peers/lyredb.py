"""LyreDB as users start it: ``lyredb run`` with one worker and an application of one table."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from bench.load.spec import Target
from bench.peers.certificate import Certificate
from bench.peers.ports import free_port
from bench.peers.process import Started, StartFailed, environment

ALONE = {"PYTHONPATH": ""}
"""Else our sources would stand before what is installed in another environment."""
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
    """A started LyreDB: where its MQTT and its HTTP listener are, and MQTT over TLS if asked for.

    The target for MQTT names the HTTP port too, where streams are subscribed to.
    """

    mqtt: Target
    http: Target
    mqtt_tls: Target | None = None


@contextmanager
def lyredb(
    folder: Path,
    *,
    certificate: Certificate | None = None,
    extra: Mapping[str, str] | None = None,
    python: Path | None = None,
) -> Iterator[Running]:
    """Run LyreDB with default settings and an empty data directory in ``folder``.

    A certificate adds a listener for MQTT over TLS, ``extra`` are environment variables. With
    ``python``, an interpreter, it is the LyreDB that is installed there, not this tree's.
    """
    home = Path(tempfile.mkdtemp(prefix="lyredb-", dir=folder))
    make_application(home, SCHEMA)
    with lyredb_at(home, certificate=certificate, extra=extra, python=python) as running:
        yield running


def make_application(home: Path, schema: str) -> Path:
    """Make the folder of an application in ``home`` and return it."""
    application = home / "app"
    application.mkdir()
    (application / "schema.graphql").write_text(schema)
    return application


def program(python: Path | None = None) -> str:
    """Return the path of the command ``lyredb`` beside an interpreter, by default ours."""
    return str((python or Path(sys.executable)).with_name("lyredb"))


def is_compiled(python: Path) -> bool:
    """Tell whether the LyreDB that is installed beside an interpreter is compiled."""
    command = [program(python), "version"]
    try:
        said = subprocess.run(
            command, env=environment(ALONE), capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return "compiled" in said.stdout


@contextmanager
def lyredb_at(
    home: Path,
    *,
    certificate: Certificate | None = None,
    extra: Mapping[str, str] | None = None,
    python: Path | None = None,
) -> Iterator[Running]:
    """Run the application in ``home`` on the data there, with one worker.

    The supervisor and the writer process belong to it, and their CPU counts.
    """
    application = home / "app"
    command = [
        program(python),
        *("run", str(application), "--data", str(home / "data"), "--workers", "1"),
        *("--http-port", "0", "--mqtt-port", "0", "--operations-port", "0"),
    ]
    login = {"LYREDB_ADMIN_USERNAME": USERNAME, "LYREDB_ADMIN_PASSWORD": PASSWORD}
    if python is not None:
        login |= ALONE
    secure = {} if certificate is None else _secure(certificate)
    with Started(command, extra=login | secure | dict(extra or {})) as process:
        try:
            ready = process.ready()
        except StartFailed as error:
            raise StartFailed(f"LyreDB {error}") from error
        http = _target(process, ready, "http")
        mqtt = replace(_target(process, ready, "mqtt"), http_port=http.port)
        tls = None
        if certificate is not None:
            port = int(secure["LYREDB_MQTT_NETWORK_SECURE_PORT"])
            tls = replace(mqtt, port=port, authority=str(certificate.authority))
        yield Running(mqtt, http, tls)


def _secure(certificate: Certificate) -> dict[str, str]:
    return {
        "LYREDB_MQTT_NETWORK_SECURE_PORT": str(free_port()),
        "LYREDB_TLS_CERTIFICATE": str(certificate.chain),
        "LYREDB_TLS_PRIVATE_KEY": str(certificate.key),
    }


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
