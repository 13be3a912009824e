"""A process that the bench started, and that it ends: by its id, in bounded time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.peers.cpu import tree

ROOT = Path(__file__).resolve().parents[2]
END_WITHIN_S = 8.0
SHOWN_CHARACTERS = 500


class StartFailed(Exception):
    """A server or tool did not start; the message has the end of what it printed."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment with this tree importable."""
    return (
        os.environ
        | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src")))}
        | (dict(extra or {}))
    )


class Started:
    """A started process, in a session of its own so that ^C reaches only the bench."""

    def __init__(self, command: Sequence[str], *, extra: Mapping[str, str] | None = None) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the process
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._output,
                env=environment(extra),
                start_new_session=True,
            )
        except OSError as error:
            raise StartFailed(f"{command[0]}: {error.strerror}") from error
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.end()

    def ready(self, timeout_s: float = 20.0) -> dict[str, object]:
        """Wait for the line of JSON with ``"ready": true`` on standard output.

        Raises:
            StartFailed: It ended, or was silent for too long.
        """
        deadline = time.monotonic() + timeout_s
        seen = b""
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        while time.monotonic() < deadline:
            seen += self._process.stdout.read() or b""
            for line in seen.splitlines(keepends=True):
                if line.endswith(b"\n") and line.startswith(b"{"):
                    found: dict[str, object] = json.loads(line)
                    if found.get("ready"):
                        return found
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise StartFailed(self.last_words())

    def is_running(self) -> bool:
        """Tell whether the process has not ended."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return how it ended and its last line on standard error: of a traceback, the error."""
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        words = lines[-1][:SHOWN_CHARACTERS] if lines else ""
        code = self._process.poll()
        state = "is not ready in time" if code is None else f"ended with {code}"
        return f"{state}{': ' if words else ''}{words}"

    def end(self) -> None:
        """Ask it to end and wait, then kill by id what is left of it and below it."""
        below = tree(self.pid)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pid in below:
            # Only in our session is it the process we saw, not one with its number reused.
            with suppress(ProcessLookupError):
                if os.getsid(pid) == self.pid:
                    os.kill(pid, signal.SIGKILL)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._output.close()


def python(*arguments: str) -> list[str]:
    """Return the command that runs this interpreter with ``arguments``."""
    return [sys.executable, *arguments]
