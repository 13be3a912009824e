"""HTTP as bytes: what no proper client would send, and whole answers taken apart."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e.clients import AUTHORIZATION
from tests.e2e.server_process import ServerProcess

DEADLINE_S = 10
LEAKS = re.compile(r"Traceback|File \"|\.py\b|/src/|/tmp|/home|/usr/|site-packages|0x[0-9a-f]{8}")
"""What no client may ever read: code, and where the server's files are."""


@dataclass(frozen=True)
class Reply:
    """One response as it stood on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def sentence(self) -> str:
        """The error's sentence."""
        said = json.loads(self.body)
        assert isinstance(said, str), said
        return said


class RawHttp:
    """A connection that sends exactly what it is told."""

    def __init__(self, server: ServerProcess, deadline_s: float = DEADLINE_S) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.http_port), deadline_s)
        self._rest = b""

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send what the peer still takes: it may have refused and closed already."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def reply(self, method: str = "GET") -> Reply:
        """Read one response."""
        status, headers = self.head()
        return Reply(status, headers, self._body(method, status, headers))

    def head(self) -> tuple[int, dict[str, str]]:
        """Read status line and headers only."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in lines[1:])
        return int(lines[0].split()[1]), {name.lower(): value for name, _, value in pairs}

    def _body(self, method: str, status: int, headers: dict[str, str]) -> bytes:
        if method == "HEAD" or status in (204, 304) or status < 200:
            return b""
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self._until(b"\r\n"), 16):
                body += self.exactly(size + 2)[:-2]
            self.exactly(2)
            return body
        return self.exactly(int(headers["content-length"]))

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._rest:
            self._more()
        found, _, self._rest = self._rest.partition(mark)
        return found

    def line(self) -> bytes:
        """Read up to the end of a line, which is left out."""
        return self._until(b"\r\n")

    def exactly(self, size: int) -> bytes:
        """Read so many bytes of what follows."""
        while len(self._rest) < size:
            self._more()
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def _more(self) -> None:
        data = self.socket.recv(65_536)
        if not data:
            raise EOFError("the server closed the connection")
        self._rest += data

    def at_end(self) -> bool:
        """Wait for the end of the connection; False when more comes instead."""
        try:
            return not self._rest and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True


@contextmanager
def raw_http(server: ServerProcess) -> Iterator[RawHttp]:
    """Open a connection."""
    connection = RawHttp(server)
    try:
        yield connection
    finally:
        connection.close()


def request(
    method: str, path: str | bytes, *lines: str, body: bytes = b"", login: bool = True
) -> bytes:
    """Return a request; its length is said when there is a body."""
    target = path.encode() if isinstance(path, str) else path
    head = [f"Host: 127.0.0.1\r\nAuthorization: {AUTHORIZATION}"] if login else ["Host: 127.0.0.1"]
    head += lines
    if body:
        head.append(f"Content-Length: {len(body)}")
    text = "\r\n".join(head).encode("latin-1")
    return method.encode() + b" " + target + b" HTTP/1.1\r\n" + text + b"\r\n\r\n" + body


def ask(
    server: ServerProcess, method: str, path: str | bytes, *lines: str, body: bytes = b""
) -> Reply:
    """Send one request on a connection of its own and return the response."""
    with raw_http(server) as connection:
        connection.send(request(method, path, *lines, body=body))
        return connection.reply(method)


def assert_clean(reply: Reply) -> None:
    """The response tells nothing about the server's code or files."""
    text = reply.body.decode("utf-8", "replace")
    found = LEAKS.search(text) or LEAKS.search(str(reply.headers))
    assert found is None, (reply.status, text[:300])


def assert_refused(reply: Reply, status: int, *words: str) -> None:
    """The response has this status and a sentence with these words, and tells no more."""
    assert reply.status == status, (reply.status, reply.body[:300])
    assert_clean(reply)
    sentence = reply.sentence
    assert re.match(r"[A-Z][A-Za-z]+: \S", sentence), sentence
    missing = [word for word in words if word not in sentence]
    assert not missing, (missing, sentence)
