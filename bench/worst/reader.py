"""A process that subscribes to everything and reads it as fast as it comes.

The job comes as JSON on standard input; one line of JSON on output says what it got.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import Final

from bench.load.client import READ_BYTES, LoadFailed, MqttLogin, connect
from bench.load.packets import subscribe
from bench.load.spec import Target
from bench.load.wrk import basic

STALL_S: Final = 30.0
LEVEL: Final = 4


@dataclass(frozen=True, slots=True)
class Reading:
    """What came, in which time; ``problem`` says why it broke off, else it is empty."""

    bytes: int = 0
    wall_s: float = 0.0
    problem: str = ""


def read_all(target: Target, kind: str, last_key: str) -> Reading:
    """Subscribe to everything, and read until the last record has come.

    Args:
        target: Where.
        kind: ``mqtt``: a subscription to ``#``; ``sse``: a stream of the whole table.
        last_key: Of the records; whatever comes, it is the last of them.
    """
    if kind == "sse":
        connection = connect(target, target.http_port)
        request = f"GET /Bench/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(target)}\r\n"
        asked = request.encode() + b"Accept: text/event-stream\r\n\r\n"
    else:
        connection = MqttLogin(LEVEL).open(target, "everything")
        asked = subscribe("#", qos=0, level=LEVEL)
    opened, mark = connection.socket, last_key.encode()
    opened.settimeout(STALL_S)
    began, size, tail = time.monotonic(), 0, b""
    opened.sendall(asked)
    while mark not in tail:
        data = opened.recv(READ_BYTES)
        if not data:
            raise LoadFailed("the server closed the connection")
        size += len(data)
        tail = tail[-len(mark) :] + data
    opened.close()
    return Reading(size, time.monotonic() - began)


def main() -> None:
    """Do the job."""
    job = json.load(sys.stdin)
    try:
        found = read_all(Target(**job["target"]), job["kind"], job["last_key"])
    except (OSError, LoadFailed) as error:
        found = Reading(problem=str(error) or type(error).__name__)
    json.dump(asdict(found), sys.stdout)


if __name__ == "__main__":
    main()
