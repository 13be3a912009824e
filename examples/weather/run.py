"""Start the weather example: the server, and the replay that publishes to it.

Ctrl-C, SIGTERM or a closed terminal ends both. What to try is printed when the server is ready.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.parse import urlsplit

from replay import add_options

FOLDER: Final = Path(__file__).resolve().parent
HTTP_PORT: Final = 9926
MQTT_PORT: Final = 1883
STOP_DEADLINE_S: Final = 6
"""The server needs at most 5 s to end."""
STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Ctrl-C, SIGTERM, or the end of the terminal."""


def free_or_any(port: int) -> int:
    """Return the port if it is free here, else 0, which means any free one.

    A broker on 1883 is common on a developer's machine; the example should start.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


@contextmanager
def child(arguments: Sequence[str], *, reads: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Run a Python process, and end it by its id when the block ends.

    It has a process group of its own, so that Ctrl-C reaches this program alone: the
    replay is ended before the server.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if reads else None,
        text=True,
        process_group=0,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def read_ready_line(server: subprocess.Popen[str]) -> dict[str, object]:
    """Return what the server says when it is ready; ends this program if it does not."""
    assert server.stdout is not None
    line = server.stdout.readline()
    if not line:
        sys.exit(server.wait() or 1)  # its one sentence is on the terminal already
    ready: dict[str, object] = json.loads(line)
    return ready


def what_to_try(http: str, mqtt_port: int) -> str:
    """Return the commands for these addresses."""
    place = f"{http}/Weather/my-balcony"
    where = f"-h 127.0.0.1 -p {mqtt_port}"
    return f"""
  Weather, live: {http}/

  Try, in a second terminal, with the page in sight:

    curl -X PUT {place} \\
         -H 'Content-Type: application/json' -d '{{"temperature": 21.5, "weather": "sun"}}'
    curl {place}
    curl -N -H 'Accept: text/event-stream' {http}/Weather/seattle
    mosquitto_sub {where} -v -t 'Weather/+'
    mosquitto_pub {where} -t Weather/my-balcony -r -m '{{"temperature": 19.5}}'

  Ctrl-C ends the server and the replay.
"""


def run(options: argparse.Namespace, data: str) -> int:
    """Run server and replay until one of them ends; returns the exit status."""
    http_port = free_or_any(HTTP_PORT) if options.http_port is None else options.http_port
    mqtt_port = free_or_any(MQTT_PORT) if options.mqtt_port is None else options.mqtt_port
    ports = ["--http-port", str(http_port), "--mqtt-port", str(mqtt_port), "--operations-port", "0"]
    with child(["-m", "lyredb", "dev", str(FOLDER), "--data", data, *ports], reads=True) as server:
        ready = read_ready_line(server)
        port = urlsplit(str(ready["mqtt"])).port
        assert port is not None
        print(json.dumps(ready) if options.json else what_to_try(str(ready["http"]), port))
        sys.stdout.flush()
        arguments = [str(FOLDER / "replay.py"), "--port", str(port)]
        arguments += ["--speed", str(options.speed), "--history", str(options.history)]
        arguments += ["--once"] if options.once else []
        with child(arguments) as replay:
            return wait_for_either(server, replay)


def wait_for_either(server: subprocess.Popen[str], replay: subprocess.Popen[str]) -> int:
    """Wait until one of the two ends; returns its exit status."""
    ended = threading.Event()

    def watch(process: subprocess.Popen[str]) -> None:
        process.wait()
        ended.set()

    for process in (server, replay):
        threading.Thread(target=watch, args=(process,), daemon=True).start()
    ended.wait()
    if server.poll() is not None:
        print("The server has ended.", file=sys.stderr)
        return max(server.returncode, 1)  # negative when a signal ended it
    return replay.wait()


def stop(number: int, frame: FrameType | None) -> None:
    """Leave all blocks; a second signal must not cut their endings short."""
    for one in STOP_SIGNALS:
        signal.signal(one, signal.SIG_IGN)
    raise Stopped


def main() -> int:
    """Run the example; returns the exit status."""
    parser = argparse.ArgumentParser(description="Weather that arrives over MQTT, shown live.")
    parser.add_argument("--http-port", type=int, help=f"{HTTP_PORT}, or a free one if it is taken")
    parser.add_argument("--mqtt-port", type=int, help=f"{MQTT_PORT}, or a free one if it is taken")
    parser.add_argument("--data", help="data directory to keep (default: a new one, removed)")
    parser.add_argument("--json", action="store_true", help="print the server's ready line instead")
    add_options(parser)
    options = parser.parse_args()
    for number in STOP_SIGNALS:
        # Under nohup it is ignored, and shall stay so.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        if options.data is not None:
            return run(options, options.data)
        with tempfile.TemporaryDirectory(prefix="lyredb-weather-") as data:
            return run(options, data)
    except Stopped:
        return 0


if __name__ == "__main__":
    sys.exit(main())
