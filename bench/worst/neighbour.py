"""A client that does small things, one after the other, and notes how long each took."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from bench.load.client import Connection, LoadFailed, MqttLogin, connect
from bench.load.packets import publish
from bench.load.spec import Target
from bench.load.wrk import basic

PAUSE_S: Final = 0.003
LEVEL: Final = 4
TOPIC: Final = "Bench/neighbour"
_PATIENCE_S: Final = 30.0


class Neighbour:
    """Writes a record, reads it, publishes a message and gets it; a context manager.

    Attributes:
        took_s: Seconds of each, by what was done.
    """

    def __init__(self, target: Target) -> None:
        self.took_s: dict[str, list[float]] = {"PUT": [], "GET": [], "publish": []}
        self._http = connect(target, target.http_port)
        self._mqtt = MqttLogin(LEVEL).open(target, "neighbour")
        MqttLogin(LEVEL).subscribe(self._mqtt, f"{TOPIC}/own", 0)
        for connection in (self._http, self._mqtt):
            connection.socket.settimeout(_PATIENCE_S)
        head = f"/{TOPIC} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {basic(target)}\r\n"
        body = b'{"seq":1,"text":"small"}'
        self._put = f"PUT {head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self._get = f"GET {head}\r\n".encode()
        self._publish = publish(f"{TOPIC}/own", b"x" * 64, level=LEVEL)
        self.round()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._http.close()
        self._mqtt.close()

    def forget(self) -> None:
        """Begin to note anew."""
        for noted in self.took_s.values():
            noted.clear()

    def round(self) -> None:
        """Do each once, with a pause after each."""
        self._note("PUT", self._http, self._put, _is_answer)
        self._note("GET", self._http, self._get, _is_answer)
        self._note("publish", self._mqtt, self._publish, self._is_message)

    def quantile_ms(self, part: float) -> dict[str, float]:
        """Return what one in ``1 / (1 - part)`` of each took longer than."""
        found = {}
        for name, noted in self.took_s.items():
            ordered = sorted(noted)
            found[name] = ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000
        return found

    def _note(
        self, name: str, connection: Connection, request: bytes, is_whole: Callable[[bytes], bool]
    ) -> None:
        began = time.perf_counter()
        connection.socket.sendall(request)
        _read(connection.socket, is_whole)
        self.took_s[name].append(time.perf_counter() - began)
        time.sleep(PAUSE_S)

    def _is_message(self, data: bytes) -> bool:
        return len(data) >= len(self._publish)


def _is_answer(data: bytes) -> bool:
    head, mark, body = data.partition(b"\r\n\r\n")
    if not mark:
        return False
    if not head.startswith((b"HTTP/1.1 20",)):
        raise LoadFailed(f"refused: {head[:200]!r}")
    _, mark, size = head.lower().partition(b"content-length:")
    return len(body) >= (int(size.split(b"\r\n")[0]) if mark else 0)


def _read(opened: socket.socket, is_whole: Callable[[bytes], bool]) -> None:
    data = b""
    while not is_whole(data):
        more = opened.recv(65_536)
        if not more:
            raise LoadFailed("the server closed the connection")
        data += more
