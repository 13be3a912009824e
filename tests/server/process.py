"""A real server process for tests: started on free ports, stopped whatever happens."""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

START_S = 20.0
SDL = """
type Sensor @table @export {
  id: ID @primaryKey
  value: Float!
}
"""


def make_application(tmp_path: Path, *, config: str = "") -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "schema.graphql").write_text(SDL)
    if config:
        (folder / "config.yaml").write_text(config)
    return folder


def free_ports() -> list[str]:
    return ["--http-port", "0", "--mqtt-port", "0", "--operations-port", "0"]


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LYREDB_")}
    # One worker, so that a test knows who answers, unless it says otherwise.
    return {**kept, "LYREDB_THREADS_COUNT": "1", **(variables or {})}


def run_lyredb(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "lyredb", *arguments],
        capture_output=True,
        text=True,
        timeout=START_S,
        env=environment(),
    )


def take_terminal(descriptor: int) -> None:
    """Make a terminal that of this session, which has none."""
    fcntl.ioctl(descriptor, termios.TIOCSCTTY, 0)


class Server:
    """``lyredb <mode> APP`` as a process; a context manager that leaves none behind.

    Attributes:
        ready: The ready line.
        log: Where standard error goes.
    """

    def __init__(
        self,
        mode: str,
        app: Path,
        *options: str,
        variables: Mapping[str, str] | None = None,
        start_new_session: bool = False,
        terminal: int | None = None,
    ) -> None:
        self.log = app.parent / f"{app.name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "lyredb", mode, str(app), *free_ports(), *options],
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment(variables),
                start_new_session=start_new_session or terminal is not None,
                preexec_fn=None if terminal is None else partial(take_terminal, terminal),
            )
        try:
            self.ready = self._read_ready()
        except BaseException:
            self.kill()
            raise

    @property
    def http(self) -> str:
        return str(self.ready["http"])

    @property
    def operations(self) -> str:
        return str(self.ready["operations"])

    def port(self, name: str) -> int:
        return int(str(self.ready[name]).rsplit(":", 1)[1])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return the exit code and the seconds that the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(20)
        return code, time.monotonic() - began

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.kill()

    def _read_ready(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], START_S)
        line = self.process.stdout.readline() if readable else b""
        assert line, f"no ready line; the log:\n{self.log.read_text()}"
        found: dict[str, Any] = json.loads(line)
        return found
