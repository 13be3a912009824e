"""Debian's Chromium, headless, driven over its DevTools protocol.

A driver package would bring a browser's worth of code for the four commands used here.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection, connect

DEADLINE_S = 30
MAX_MESSAGE_BYTES = 2**24  # a screenshot is one message
POLL_S = 0.05
FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    # It talks to the page under test and to nobody else.
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


def executable() -> str:
    """The path of Chromium; skips the test on a machine without one, never in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        sentence = "no Chromium on this machine (Debian: apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(sentence)
        pytest.skip(sentence)
    return found


class Page:
    """One tab.

    Attributes:
        problems: Uncaught errors of the page's scripts and errors in its console.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self.problems: list[str] = []
        self._socket = socket
        self._last_id = 0
        for domain in ("Page", "Runtime", "Log"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: object) -> dict[str, object]:
        """Send a DevTools command and return its result."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": parameters}
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=DEADLINE_S))
            if answer.get("id") == self._last_id:
                assert "error" not in answer, answer["error"]
                result: dict[str, object] = answer["result"]
                return result
            self._note(answer)

    def _note(self, event: dict[str, object]) -> None:
        if event["method"] == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(event["params"]))
        elif event["method"] == "Log.entryAdded":
            parameters = event["params"]
            assert isinstance(parameters, dict)
            if parameters["entry"]["level"] == "error":
                self.problems.append(json.dumps(parameters["entry"]))

    def open(self, url: str) -> None:
        """Load an address; returns when the page's scripts have run."""
        self.command("Page.navigate", url=url)
        loaded = "document.readyState === 'complete'"
        self.wait_for(f"location.href === {json.dumps(url)} && {loaded}")

    def evaluate(self, expression: str) -> object:
        """Return the value of a JavaScript expression."""
        answer = self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer
        result = answer["result"]
        assert isinstance(result, dict)
        return result.get("value")

    def wait_for(self, expression: str) -> object:
        """Return the expression's value as soon as it is true."""
        deadline = time.monotonic() + DEADLINE_S
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not true in {DEADLINE_S} s: {expression}")
            time.sleep(POLL_S)
        return value

    def screenshot(self, path: Path) -> None:
        """Write a PNG of what is seen."""
        picture = self.command("Page.captureScreenshot", format="png")["data"]
        assert isinstance(picture, str)
        path.write_bytes(base64.b64decode(picture))


def _socket_address(process: subprocess.Popen[bytes], profile: Path) -> str:
    """Return the DevTools address of the one tab; Chromium writes its port to a file."""
    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + DEADLINE_S
    while not (port_file.exists() and port_file.read_text().endswith("\n")):
        assert process.poll() is None, "Chromium ended at once"
        if port_file.exists() and len(port_file.read_text().splitlines()) > 1:
            break
        assert time.monotonic() < deadline, "Chromium did not start"
        time.sleep(POLL_S)
    port = port_file.read_text().splitlines()[0]
    while time.monotonic() < deadline:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=5) as answer:
            for target in json.load(answer):
                if target["type"] == "page":
                    return str(target["webSocketDebuggerUrl"])
        time.sleep(POLL_S)
    raise AssertionError("Chromium has no tab")


@contextmanager
def browser_page(*, width: int = 1280, height: int = 900) -> Iterator[Page]:
    """Start a browser with one empty tab, and end it afterwards."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [
                *(executable(), *FLAGS),
                *(f"--user-data-dir={profile}", f"--window-size={width},{height}", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            address = _socket_address(process, Path(profile))
            with connect(address, max_size=MAX_MESSAGE_BYTES, compression=None) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            try:
                process.wait(DEADLINE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
