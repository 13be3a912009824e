"""A real server process for end-to-end tests, and its addresses."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from lyredb.storage.data_directory import LOCK_FILE
from tests.server.process_tree import assert_all_end, children_of, eventually

USER = "admin"
PASSWORD = "correct horse"
WORKERS = os.environ.get("TEST_WORKERS", "1")
"""Of each server, unless a test says otherwise; ``TEST_WORKERS=2 pytest tests/e2e`` finds what
holds with one worker only."""
START_DEADLINE_S = 30
STOP_DEADLINE_S = 5

SCHEMA = """
type Sensor @table @export {
  id: ID @primaryKey
  value: Float
  site: String @indexed
}

type Counter @table @export {
  id: Int @primaryKey
  n: Int
}

type Sealed @table @export @sealed {
  id: ID @primaryKey
  name: String!
}
"""


@dataclass(slots=True)
class ServerProcess:
    """A running server.

    Attributes:
        process: The process that was started; with ``run`` the supervisor.
        http: Base address, such as ``http://127.0.0.1:41234``.
        mqtt_port: Port of the MQTT listener on 127.0.0.1.
        ready: The ready line.
        data: The data directory.
        log: Where its standard error goes.
    """

    process: subprocess.Popen[str]
    http: str
    mqtt_port: int
    ready: Mapping[str, object]
    data: Path
    log: Path

    @property
    def http_port(self) -> int:
        port = urlsplit(self.http).port
        assert port is not None
        return port

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status; fails when it takes too long."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_DEADLINE_S)

    def kill(self) -> None:
        """End the process that was started at once, and wait until all others are gone."""
        pids = self.pids
        self.process.kill()
        self.process.wait(START_DEADLINE_S)  # not a question of a stop in time
        assert_all_end(pids)
        # Threads of a process may outlive what is seen of it by a moment, with all its files.
        eventually(self._is_unlocked, "a data directory that nobody holds")

    def _is_unlocked(self) -> bool:
        try:
            with (self.data / LOCK_FILE).open() as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except FileNotFoundError:
            return True  # on a disk that only the server sees
        return True

    @property
    def pids(self) -> list[int]:
        """All processes of the server, the one that was started first."""
        return [self.process.pid, *children_of(self.process.pid).values()]

    def errors(self) -> str:
        """What the server wrote to standard error."""
        return self.log.read_text()


def start_server(
    application: Path,
    data: Path,
    *arguments: str,
    command: str = "run",
    prefix: Sequence[str] = (),
    program: Sequence[str] = ("-m", "lyredb"),
    environment: Mapping[str, str] | None = None,
) -> ServerProcess:
    """Start ``lyredb run`` on free ports and wait for its ready line.

    It has `WORKERS`, so that a test knows who answers, unless told ``--workers N``.

    Args:
        application: The application folder.
        data: The data directory; the log lies beside it.
        arguments: More of them for the command line.
        command: ``run`` or ``dev``.
        prefix: A program that starts the interpreter, with its arguments.
        program: What the interpreter runs.
        environment: More variables.
    """
    log = data.parent / f"{data.name}.log"
    with log.open("a") as errors:
        process = subprocess.Popen(
            [
                *(*prefix, sys.executable, *program, command, str(application)),
                *("--data", str(data)),
                *("--http-port", "0", "--mqtt-port", "0", "--operations-port", "0"),
                *arguments,
            ],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ
            | {
                "LYREDB_ADMIN_USERNAME": USER,
                "LYREDB_ADMIN_PASSWORD": PASSWORD,
                "LYREDB_THREADS_COUNT": WORKERS,
            }
            | dict(environment or {}),
        )
    try:
        return _ready(process, data, log)
    except BaseException:
        # A test's timeout too: nobody else knows this process.
        process.kill()
        process.wait(START_DEADLINE_S)
        assert process.stdout is not None
        process.stdout.close()
        raise


def _ready(process: subprocess.Popen[str], data: Path, log: Path) -> ServerProcess:
    """Wait for the ready line."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(START_DEADLINE_S)
        raise AssertionError(f"the server did not start: {log.read_text()}")
    ready = json.loads(line)
    mqtt_port = urlsplit(str(ready["mqtt"])).port
    assert mqtt_port is not None
    return ServerProcess(process, str(ready["http"]), mqtt_port, ready, data, log)


@contextmanager
def running_server(
    schema: str = SCHEMA,
    *arguments: str,
    command: str = "run",
    environment: Mapping[str, str] | None = None,
) -> Iterator[ServerProcess]:
    """A server on a new application and data directory, ended afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        application = Path(folder) / "app"
        application.mkdir()
        (application / "schema.graphql").write_text(schema)
        server = start_server(
            application,
            Path(folder) / "data",
            *arguments,
            command=command,
            environment=environment,
        )
        try:
            yield server
        finally:
            if server.process.poll() is None:
                server.kill()
            assert server.process.stdout is not None
            server.process.stdout.close()
