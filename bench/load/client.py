"""One MQTT connection of the load: a socket, what it expects, and no more."""

from __future__ import annotations

import socket
import time

from bench.load import packets
from bench.load.check import Check
from bench.load.frames import Frame, FrameReader
from bench.load.spec import Target

READ_BYTES = 1 << 18
CONNECT_TIMEOUT_S = 10.0
# One buffer for all: a fresh one of this size a read costs more than the copy out of it
# (page faults; 17 µs a read of 4 kB, against 5 with this).
_BUFFER = memoryview(bytearray(READ_BYTES))


class LoadFailed(Exception):
    """The run cannot go on; the message says why."""


class Connection:
    """A logged-in connection. ``recv_frame`` is for set-up; ``read`` for the run."""

    def __init__(self, target: Target, client_id: str, level: int) -> None:
        self._level = level
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self.reads = 0
        self.check: Check | None = None
        self.socket = socket.create_connection(
            (target.host, target.port), timeout=CONNECT_TIMEOUT_S
        )
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(
            packets.connect(
                client_id, level=level, username=target.username, password=target.password
            )
        )
        answer = self.recv_frame()
        if answer.type != packets.CONNACK or answer.body[1]:
            raise LoadFailed(f"connection refused: CONNACK {answer.body.hex()}")

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Subscribe and wait for the SUBACK."""
        self.socket.sendall(packets.subscribe(topic_filter, qos=qos, level=self._level))
        answer = self.recv_frame()
        if answer.type != packets.SUBACK or answer.body[-1] != qos:
            raise LoadFailed(f"subscription refused: packet {answer.type} {answer.body.hex()}")

    def recv_frame(self, timeout_s: float = CONNECT_TIMEOUT_S) -> Frame:
        """Wait for the next frame; one that came with it is kept for the next call.

        Raises:
            LoadFailed: Nothing came in time, or the server closed.
        """
        deadline = time.monotonic() + timeout_s
        while not self._frames:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(READ_BYTES)
            except TimeoutError as error:
                raise LoadFailed(f"no answer within {timeout_s:g} s") from error
            if not data:
                raise LoadFailed("the server closed the connection")
            self._frames = self._reader.feed(data)
        return self._frames.pop(0)

    def begin(self, check: Check) -> None:
        """From now on read without waiting, and give all bytes to ``check``."""
        self.check = check
        self.socket.setblocking(False)

    def read(self) -> int:
        """Read once; return how many messages that brought. To be called when readable."""
        assert self.check is not None
        size = self.socket.recv_into(_BUFFER)
        if not size:
            raise LoadFailed("the server closed the connection")
        data = bytes(_BUFFER[:size])
        self.reads += 1
        before = self.check.progress
        answer = self.check.feed(data)
        if answer and self.socket.send(answer) != len(answer):
            raise LoadFailed("the server does not read acknowledgements")
        return self.check.progress - before

    def close(self) -> None:
        """Say DISCONNECT if that is possible, and close."""
        try:
            self.socket.settimeout(1.0)
            self.socket.sendall(packets.DISCONNECT_PACKET)
        except OSError:
            self.socket.close()  # the server was faster, which a run has reported by now
            return
        self.socket.close()
