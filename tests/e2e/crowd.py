"""A hundred subscribers in one thread, each of which must hear every number once, in order."""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from dataclasses import dataclass, field

DEADLINE_S = 60.0
MARK = re.compile(rb"<(\d{6})>")
"""Stands in each message once, whatever the protocol puts around it."""
_MARK_BYTES = 10
"""Of what is looked for at most."""


def marked(number: int, size: int) -> str:
    """A text of so many characters with a number in it."""
    return f"<{number:06d}>".ljust(size, "x")


@dataclass
class Listener:
    """One subscriber: its socket, the numbers that it has heard, and if it was told of a gap."""

    socket: socket.socket
    heard: list[int] = field(default_factory=list)
    tail: bytes = b""
    has_gap: bool = False

    def take(self, data: bytes) -> None:
        text = self.tail + data
        self.has_gap = self.has_gap or b"event: gap" in text
        end = 0
        for found in MARK.finditer(text):
            self.heard.append(int(found[1]))
            end = found.end()
        self.tail = text[max(end, len(text) - _MARK_BYTES + 1) :]


class Crowd:
    """Reads for all of them until each has heard the last number, or the deadline."""

    def __init__(self, sockets: list[socket.socket], last: int) -> None:
        self.listeners = [Listener(one) for one in sockets]
        self._last = last
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "they wait too long"

    def _read(self) -> None:
        waiting = {listener.socket.fileno(): listener for listener in self.listeners}
        poll = select.epoll()
        for number, listener in waiting.items():
            listener.socket.setblocking(False)
            poll.register(number, select.EPOLLIN)
        deadline = time.monotonic() + DEADLINE_S
        while waiting and time.monotonic() < deadline:
            for number, _ in poll.poll(0.5):
                data = waiting[number].socket.recv(262_144)
                waiting[number].take(data)
                if not data or waiting[number].heard[-1:] == [self._last]:
                    poll.unregister(number)
                    del waiting[number]
        poll.close()
