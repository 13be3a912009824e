"""One connection of the load: a socket, what it expects, and no more."""

from __future__ import annotations

import json
import socket
import ssl
import time
from base64 import b64encode
from typing import Protocol

from bench.load import packets
from bench.load.check import Check
from bench.load.frames import Frame, FrameReader
from bench.load.spec import Target
from bench.load.wire import INBOX, subject

READ_BYTES = 1 << 18
CONNECT_TIMEOUT_S = 10.0
# One buffer for all: a fresh one of this size a read costs more than the copy out of it
# (page faults; 17 µs a read of 4 kB, against 5 with this).
_BUFFER = memoryview(bytearray(READ_BYTES))


class LoadFailed(Exception):
    """The run cannot go on; the message says why."""


class Connection:
    """A connection; what its protocol needs at the start is done by who makes it.

    Attributes:
        reads: Calls of ``recv`` that brought something.
    """

    def __init__(self, opened: socket.socket) -> None:
        self.socket = opened
        self.reads = 0
        self.check: Check | None = None

    def begin(self, check: Check) -> None:
        """From now on read without waiting, and give all bytes to ``check``."""
        self.check = check
        self.socket.setblocking(False)

    def read(self) -> int:
        """Read once; return how many messages that brought. To be called when readable."""
        size = self.socket.recv_into(_BUFFER)
        if not size:
            raise LoadFailed("the server closed the connection")
        return self._take(size)

    def send(self, data: memoryview) -> int:
        """Send what the socket takes, and return how much that was.

        Raises:
            BlockingIOError: It takes nothing now.
        """
        return self.socket.send(data)

    def _take(self, size: int) -> int:
        assert self.check is not None
        self.reads += 1
        before = self.check.progress
        answer = self.check.feed(bytes(_BUFFER[:size]))
        if answer and self.socket.send(answer) != len(answer):
            raise LoadFailed("the server does not read acknowledgements")
        return self.check.progress - before

    def close(self, goodbye: bytes = b"") -> None:
        """Say goodbye if that is possible, and close."""
        try:
            self.socket.settimeout(1.0)
            self.socket.sendall(goodbye)
        except OSError:
            self.socket.close()  # the server was faster, which a run has reported by now
            return
        self.socket.close()


class TlsConnection(Connection):
    """A connection over TLS: what was decrypted with a record is read with it."""

    socket: ssl.SSLSocket

    def read(self) -> int:
        messages = 0
        while True:
            try:
                size = self.socket.recv_into(_BUFFER)
            except ssl.SSLWantReadError:
                return messages
            if not size:
                raise LoadFailed("the server closed the connection")
            messages += self._take(size)
            if not self.socket.pending():  # the poll knows nothing of decrypted bytes
                return messages

    def send(self, data: memoryview) -> int:
        try:
            return self.socket.send(data)
        except ssl.SSLWantWriteError as error:
            raise BlockingIOError from error


class Login(Protocol):
    """Opens connections of one protocol."""

    goodbye: bytes

    def open(self, target: Target, client_id: str) -> Connection:
        """Connect and log in."""

    def subscribe(self, connection: Connection, topic_filter: str, qos: int) -> None:
        """Subscribe and wait until that counts."""

    def expect_stored(self, connection: Connection) -> None:
        """Let acknowledgements of stored messages come to this connection."""


def connect(target: Target, port: int = 0) -> Connection:
    """Open a connection to a target, over TLS where it says so."""
    address = (target.host, port or target.port)
    opened = socket.create_connection(address, timeout=CONNECT_TIMEOUT_S)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not target.authority or port:
        return Connection(opened)
    context = ssl.create_default_context(cafile=target.authority)
    return TlsConnection(context.wrap_socket(opened, server_hostname="localhost"))


class MqttLogin:
    """CONNECT and SUBSCRIBE of MQTT 3.1.1 (4) or 5; sessions are clean, or durable."""

    goodbye = packets.DISCONNECT_PACKET

    def __init__(self, level: int, *, durable: bool = False) -> None:
        self._level = level
        self._durable = durable

    def open(self, target: Target, client_id: str) -> Connection:
        if self._durable:  # what an earlier run has left goes
            MqttLogin(self._level).open(target, client_id).close(self.goodbye)
        return self._open(target, client_id, is_present=False)

    def resume(self, target: Target, client_id: str) -> Connection:
        """Take up a durable session that has to be there.

        Raises:
            LoadFailed: It is not.
        """
        return self._open(target, client_id, is_present=True)

    def _open(self, target: Target, client_id: str, *, is_present: bool) -> Connection:
        connection = connect(target)
        connection.socket.sendall(
            packets.connect(
                client_id,
                level=self._level,
                username=target.username,
                password=target.password,
                durable=self._durable,
            )
        )
        try:
            answer = recv_frame(connection.socket)
            if answer.type != packets.CONNACK or answer.body[1]:
                raise LoadFailed(f"connection refused: CONNACK {answer.body.hex()}")
            if answer.body[0] != is_present:
                raise LoadFailed(f"a session that should {'' if is_present else 'not '}be there")
        except LoadFailed:
            connection.close()
            raise
        return connection

    def subscribe(self, connection: Connection, topic_filter: str, qos: int) -> None:
        connection.socket.sendall(packets.subscribe(topic_filter, qos=qos, level=self._level))
        answer = recv_frame(connection.socket)
        if answer.type != packets.SUBACK or answer.body[-1] != qos:
            raise LoadFailed(f"subscription refused: packet {answer.type} {answer.body.hex()}")

    def expect_stored(self, connection: Connection) -> None:
        """Nothing to do: PUBACKs come by themselves."""


class NatsLogin:
    """CONNECT and SUB of NATS, each confirmed by a PING."""

    goodbye = b""

    def open(self, target: Target, client_id: str) -> Connection:
        connection = connect(target)
        if not _recv_line(connection.socket).startswith(b"INFO "):
            raise LoadFailed("this is no NATS server")
        options = {"verbose": False, "pedantic": False, "name": client_id, "lang": "bench"}
        words = b"CONNECT %b\r\n" % json.dumps(options | {"version": "1"}).encode()
        self._confirm(connection, words)
        return connection

    def subscribe(self, connection: Connection, topic_filter: str, qos: int) -> None:
        self._confirm(connection, b"SUB %b 1\r\n" % subject(topic_filter))

    def expect_stored(self, connection: Connection) -> None:
        self._confirm(connection, b"SUB %b 1\r\n" % INBOX)

    def ask(self, connection: Connection, topic: bytes, body: bytes) -> bytes:
        """Ask JetStream something and return its answer."""
        connection.socket.sendall(b"PUB %b %b %d\r\n%b\r\n" % (topic, INBOX, len(body), body))
        while (line := _recv_line(connection.socket)) in (b"PING", b"PONG"):
            continue
        if not line.startswith(b"MSG "):
            raise LoadFailed(f"JetStream: {line[:200]!r}")
        size = int(line.split(b" ")[-1])
        return _recv_exactly(connection.socket, size + 2)[:-2]

    def _confirm(self, connection: Connection, words: bytes) -> None:
        connection.socket.sendall(words + b"PING\r\n")
        while (line := _recv_line(connection.socket)) == b"PING":
            connection.socket.sendall(b"PONG\r\n")
        if line != b"PONG":
            raise LoadFailed(f"refused: {line[:200]!r}")


def login_of(target: Target, level: int) -> Login:
    """Return how one logs in to a target."""
    return NatsLogin() if target.protocol == "nats" else MqttLogin(level)


def recv_frame(opened: socket.socket, timeout_s: float = CONNECT_TIMEOUT_S) -> Frame:
    """Wait for one MQTT frame of which nothing follows yet.

    Raises:
        LoadFailed: Nothing came in time, or the server closed.
    """
    reader = FrameReader()
    deadline = time.monotonic() + timeout_s
    frames: list[Frame] = []
    while not frames:
        frames = reader.feed(recv_some(opened, 1, deadline))
    return frames[0]


def recv_some(opened: socket.socket, most: int, deadline_s: float) -> bytes:
    """Receive something until a monotonic time.

    Raises:
        LoadFailed: Nothing came in time, or the server closed.
    """
    opened.settimeout(max(0.001, deadline_s - time.monotonic()))
    try:
        data = opened.recv(most)
    except TimeoutError as error:
        raise LoadFailed("no answer in time") from error
    if not data:
        raise LoadFailed("the server closed the connection")
    return data


def _recv_line(opened: socket.socket) -> bytes:
    """Wait for a line, byte by byte so that nothing after it is taken."""
    deadline, line = time.monotonic() + CONNECT_TIMEOUT_S, b""
    while not line.endswith(b"\r\n"):
        line += recv_some(opened, 1, deadline)
    return line[:-2]


def _recv_exactly(opened: socket.socket, size: int) -> bytes:
    deadline, data = time.monotonic() + CONNECT_TIMEOUT_S, b""
    while len(data) < size:
        data += recv_some(opened, size - len(data), deadline)
    return data


def open_stream(target: Target, topic: str, kind: str) -> Connection:
    """Subscribe to a topic over HTTP; returns when the server says that it is ready.

    Args:
        target: ``http_port`` is where.
        topic: Which is the path.
        kind: ``sse`` or ``ws``.
    """
    connection = connect(target, target.http_port)
    pair = b64encode(f"{target.username}:{target.password}".encode()).decode()
    head = f"GET /{topic} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {pair}\r\n"
    if kind == "sse":
        head += "Accept: text/event-stream\r\n\r\n"
    else:
        key = b64encode(bytes(16)).decode()
        head += f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
        head += "Sec-WebSocket-Version: 13\r\n\r\n"
    connection.socket.sendall(head.encode())
    deadline, said = time.monotonic() + CONNECT_TIMEOUT_S, b""
    while b"ready" not in said:
        said += recv_some(connection.socket, 1 << 16, deadline)
        if not said.startswith((b"HTTP/1.1 200", b"HTTP/1.1 101")[: 2 if len(said) > 12 else 0]):
            raise LoadFailed(f"the stream was refused: {said[:200]!r}")
    return connection
