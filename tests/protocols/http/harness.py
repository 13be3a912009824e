"""An HTTP port in the test's own loop, and a client that sends exactly what it is told."""

from __future__ import annotations

import asyncio
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lyredb.errors import LoginFailed
from lyredb.plugins.network import ClientCertificates
from lyredb.protocols.http import Authentication, HttpLimits, HttpServer, Request, bind_socket
from lyredb.protocols.net import Admission, AdmissionLimits, Network
from lyredb.security.authenticator import Account, Authenticator
from lyredb.security.principals import SUPER_USER
from lyredb.security.revocations import Revocations

DEADLINE_S = 10.0
ADMIN = ("admin", "secret")
LOGIN = b"authorization: Basic " + b64encode(b"admin:secret") + b"\r\n"


class FakeAuthenticator:
    """Knows one user; remembers it after the first check."""

    anonymous = Authenticator.anonymous
    local = Authenticator.local

    def __init__(self) -> None:
        self.revocations = Revocations()
        self.checked = 0
        self.noted: list[bytes] = []
        self._known: Account | None = None

    def cached(self, name: str, password: str, address: str = "") -> Account | None:
        return self._known if (name, password) == ADMIN else None

    def recall(self, credentials: bytes, address: str = "") -> Account | None:
        return self._known if credentials in self.noted else None

    def note(self, credentials: bytes, name: str, password: str) -> None:
        self.noted.append(credentials)

    def of_token(self, token: str) -> Account | None:
        return None

    def by_name(self, name: str) -> Account | None:
        return Account(name, SUPER_USER) if name == ADMIN[0] else None

    async def verify(self, name: str, password: str, *, address: str = "") -> Account:
        self.checked += 1
        await asyncio.sleep(0)
        if (name, password) != ADMIN:
            raise LoginFailed("Login failed")
        self._known = Account(name, SUPER_USER)
        return self._known


def authentication(*, authorize_local: bool = False) -> Authentication:
    fake = FakeAuthenticator()
    return Authentication(fake, authorize_local=authorize_local)  # type: ignore[arg-type]


@dataclass
class Reply:
    """One response as it stood on the wire."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class RawClient:
    """A connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    sent: bytearray = field(default_factory=bytearray)

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, *, method: str = "GET") -> Reply:
        """Read one response."""
        async with asyncio.timeout(DEADLINE_S):
            status, headers = await self.head()
            return Reply(status, headers, await self._body(method, status, headers))

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read status line and headers only."""
        async with asyncio.timeout(DEADLINE_S):
            head = await self.reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(": ") for line in lines[1:] if line)
        return int(lines[0].split()[1]), {name.lower(): value for name, _, value in pairs}

    async def _body(self, method: str, status: int, headers: dict[str, str]) -> bytes:
        if method == "HEAD" or status in (204, 304):
            return b""
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while part := await self.chunk():
                parts.append(part)
            return b"".join(parts)
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return await self.reader.read()

    async def chunk(self) -> bytes:
        """Read one chunk, ``b""`` at the end of the stream."""
        async with asyncio.timeout(DEADLINE_S):
            size = int(await self.reader.readline(), 16)
            data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def ask(self, method: str, path: str, head: bytes = b"", body: bytes = b"") -> Reply:
        """Send one request and read its response."""
        length = b"content-length: %d\r\n" % len(body) if body else b""
        line = f"{method} {path} HTTP/1.1\r\nhost: localhost\r\n".encode()
        self.send(line + head + length + b"\r\n" + body)
        return await self.reply(method=method)

    async def at_end(self) -> bool:
        """Wait for the end of the connection; False when more comes instead."""
        async with asyncio.timeout(DEADLINE_S):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True


@dataclass
class TestPort:
    """A server and its clients."""

    __test__ = False
    server: HttpServer
    clients: list[RawClient] = field(default_factory=list)

    async def connect(self) -> RawClient:
        address = self.server.address
        client = RawClient(*await asyncio.open_connection(address.host, address.port))
        self.clients.append(client)
        return client

    async def ask(self, method: str, path: str, head: bytes = b"", body: bytes = b"") -> Reply:
        """One request on a connection of its own."""
        client = await self.connect()
        return await client.ask(method, path, head, body)


def a_network() -> Network:
    """Lets everybody in, as loopback is."""
    return Network(Admission(AdmissionLimits()))


@asynccontextmanager
async def running(
    handler: Callable[[Request], Awaitable[None]] | None = None,
    *,
    limits: HttpLimits | None = None,
    web: Path | None = None,
    health: Callable[[], str] = lambda: "",
    lack: Callable[[], str] = lambda: "",
    authorize_local: bool = False,
    prepare: Callable[[HttpServer, Authentication], None] | None = None,
    network: Network | None = None,
    secure: Sequence[socket.socket] = (),
    client_certificates: ClientCertificates = "false",
) -> AsyncIterator[TestPort]:
    """A port with one handler for everything below ``/x``."""
    users = authentication(authorize_local=authorize_local)
    server = HttpServer(
        [bind_socket("127.0.0.1", 0)],
        limits or HttpLimits(),
        network=network or a_network(),
        secure=secure,
        client_certificates=client_certificates,
        authentication=users,
        health=health,
        lack=lack,
        web=web,
    )
    if handler is not None:
        server.mount("x", lambda request: request.path.startswith("x"), handler)
    if prepare is not None:
        prepare(server, users)
    await server.start()
    port = TestPort(server)
    try:
        yield port
    finally:
        for client in port.clients:
            client.writer.close()
        await server.stop(2.0)
        for client in port.clients:
            try:
                await client.writer.wait_closed()
            except OSError:
                pass  # the server was quicker
