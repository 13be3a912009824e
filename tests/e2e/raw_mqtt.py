"""MQTT as bytes: what no proper client would send, and whole packets taken apart."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from tests.e2e.server_process import PASSWORD, USER, ServerProcess
from tests.protocols.mqtt import client_frames as frames
from tests.protocols.mqtt.client_frames import Received

DEADLINE_S = 10


class RawMqtt:
    """A connection that sends exactly what it is told."""

    def __init__(
        self, server: ServerProcess, version: int = 4, *, deadline_s: float = DEADLINE_S
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.mqtt_port), deadline_s)
        self.version = version
        self._rest = b""
        self._packets: list[Received] = []

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Send what the peer still takes: it may have closed already."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def flood(self, data: bytes, seconds: float) -> int:
        """Send over and over without reading; return how many bytes the server took."""
        sent = 0
        ends = time.monotonic() + seconds
        self.socket.settimeout(0.2)
        while time.monotonic() < ends:
            try:
                sent += self.socket.send(data[sent % len(data) :])
            except TimeoutError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                break
        return sent

    def log_in(self, client_id: str = "") -> None:
        """CONNECT as the administrator; fails when refused."""
        self.send(
            frames.connect(self.version, client_id, username=USER, password=PASSWORD.encode())
        )
        accepted = self.next()
        assert (accepted.kind, accepted.reason) == (2, 0), accepted

    def next(self) -> Received:
        """The next packet; EOFError when the server closed instead."""
        while not self._packets:
            try:
                data = self.socket.recv(65_536)
            except ConnectionResetError:
                data = b""
            if not data:
                raise EOFError("the server closed the connection")
            self._packets, self._rest = frames.split_whole(self._rest + data, self.version)
        return self._packets.pop(0)

    def pending(self) -> list[Received]:
        """What has been read and not taken, after a `ping`: all that was sent before it."""
        return list(self._packets)

    def until(self, kind: int) -> Received:
        """The next packet of a kind."""
        while (packet := self.next()).kind != kind:
            pass
        return packet

    def to_the_end(self) -> list[Received]:
        """All packets up to the end of the connection, which has to come."""
        found = []
        while True:
            try:
                found.append(self.next())
            except EOFError:
                return found

    def ping(self) -> None:
        """The connection still works."""
        self.send(frames.PINGREQ)
        self.until(13)

    def publish(self, topic: str, payload: bytes, packet_id: int, *, retain: bool = False) -> int:
        """Publish with QoS 1 and return the reason code of its acknowledgement."""
        self.send(
            frames.publish(
                topic,
                payload,
                version=self.version,
                qos=1,
                packet_id=packet_id,
                retain=retain,
            )
        )
        acknowledged = self.until(4)
        assert acknowledged.packet_id == packet_id
        return acknowledged.reason


@contextmanager
def raw_mqtt(server: ServerProcess, version: int = 4, *, login: bool = True) -> Iterator[RawMqtt]:
    """Open a connection, logged in unless told otherwise."""
    connection = RawMqtt(server, version)
    try:
        if login:
            connection.log_in()
        yield connection
    finally:
        connection.close()
