"""A request as handlers see it, for HTTP and for WebSocket upgrades."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, Literal
from urllib.parse import unquote_to_bytes

import httptools

from lyredb.errors import BodyTooLarge, InvalidBody, InvalidTopic
from lyredb.plugins.context import Context
from lyredb.plugins.network import Peer
from lyredb.protocols.http.exchange import Exchange
from lyredb.resources.target import Target
from lyredb.security.audit import Strategy
from lyredb.security.authenticator import Account

CONNECTION: Final = "lyredb.connection"
"""The key in ``scope["extensions"]`` of the `Exchange` or WebSocket connection."""

PEER: Final = "lyredb.peer"
"""The key in the scope of the `Peer`."""

SERVER: Final = b"*"
"""The target of an OPTIONS that asks for the server itself (RFC 9112 §3.2.4)."""

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


def decode_path(raw: bytes) -> str:
    """Return the decoded path without its leading slash.

    Raises:
        InvalidTopic: It is not UTF-8 once decoded, or does not begin with a slash.
    """
    if raw[:1] != b"/":
        raise InvalidTopic("the path must begin with /")
    try:
        return (unquote_to_bytes(raw) if b"%" in raw else raw)[1:].decode()
    except UnicodeDecodeError:
        raise InvalidTopic("the path is not UTF-8") from None


def split_url(url: bytes) -> tuple[bytes, str, bytes]:
    """Return path as sent, decoded path without its leading slash, and query.

    Args:
        url: A request target in origin or absolute form (RFC 9112 §3.2).

    Raises:
        InvalidTopic: The path is not UTF-8 once decoded, or does not begin with a slash.
        httptools.HttpParserInvalidURLError: It is no URL.
    """
    if url[:1] == b"/" and b"#" not in url:
        raw_path, _, query = url.partition(b"?")
    else:
        parsed = httptools.parse_url(url)
        raw_path, query = parsed.path or b"/", parsed.query or b""
    return raw_path, decode_path(raw_path), query


class Request:
    """One request; what costs something is done when asked for.

    Attributes:
        scope: The ASGI scope.
        receive: Of ASGI.
        send: Of ASGI.
        is_websocket: An upgrade to WebSocket.
        method: ``GET`` for upgrades.
        connection: The `Exchange`, or the WebSocket connection.
        query: What stands after ``?``, not decoded.
        target: What the path names, once a mount has resolved it.
        begun: What is left to do of an answer that was begun without a task.
        account: Who asks, once authenticated.
        identify: Gives its context a decision class, once authenticated; ``None``: the role.
        login: By what the account is known, ``""`` for none: anonymous, or local.
        anonymous_because: Why a loopback request is not taken as local, ``""`` otherwise.
    """

    __slots__ = (
        "_headers",
        "_path",
        "account",
        "anonymous_because",
        "begun",
        "connection",
        "identify",
        "is_websocket",
        "login",
        "method",
        "query",
        "receive",
        "scope",
        "send",
        "target",
    )

    def __init__(self, scope: Any, receive: Receive, send: Send, connection: Any = None) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.is_websocket: bool = scope["type"] == "websocket"
        self.method: str = "GET" if self.is_websocket else scope["method"]
        self.connection = connection
        self.query: bytes = scope["query_string"]
        self.target: Target | None = None
        self.begun: Callable[[], Awaitable[None]] | None = None
        self.account: Account | None = None
        self.identify: Callable[[Context], Context] | None = None
        self.login: Strategy | Literal[""] = ""
        self.anonymous_because = ""
        self._headers: dict[bytes, bytes] | None = None
        # The guard has decoded it, and refused what cannot be.
        self._path: str | None = None if self.is_websocket else scope["path"][1:]

    @property
    def exchange(self) -> Exchange:
        """The request's way to answer; only for HTTP."""
        found = self.connection
        assert isinstance(found, Exchange), "an HTTP request"
        return found

    @property
    def path(self) -> str:
        """The decoded path without its leading slash.

        Raises:
            InvalidTopic: It is not UTF-8.
        """
        if self._path is None:
            self._path = decode_path(self.scope["raw_path"])
        return self._path

    @path.setter
    def path(self, path: str) -> None:
        self._path = path

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers by lower-case name; repeated ones joined by commas (RFC 9110 §5.3)."""
        if self._headers is None:
            pairs = self.scope["headers"]
            headers = dict(pairs)
            if len(headers) != len(pairs):
                headers = _joined(pairs)
            self._headers = headers
        return self._headers

    def header(self, name: bytes) -> str:
        """The value of a header, ``""`` when it was not sent. Bytes above 127 are Latin-1."""
        value = self.headers.get(name)
        return "" if value is None else value.decode("latin-1")

    @property
    def peer(self) -> str:
        """The peer's address."""
        client = self.scope["client"]
        return client[0] if client else ""

    @property
    def certificate_name(self) -> str:
        """The common name in the client's certificate, which was verified; ``""`` without."""
        peer: Peer | None = self.scope.get(PEER)
        return "" if peer is None else peer.certificate_name

    @property
    def is_secure(self) -> bool:
        """Whether it came over TLS."""
        peer: Peer = self.scope[PEER]
        return peer.is_secure

    def context(self, protocol: str, session: int = 0) -> Context:
        """The context of what is done for this request, once authenticated."""
        account = self.account
        assert account is not None, "authenticated first"
        context = Context(account.principal, protocol, account.name, session, self.peer)
        return context if self.identify is None else self.identify(context)

    async def body(self, limit: int) -> bytes:
        """Read the whole body.

        Raises:
            BodyTooLarge: More than ``limit`` bytes.
            InvalidBody: The peer went away in the middle.
        """
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise InvalidBody("the body ended too early")
            part: bytes = message["body"]
            size += len(part)
            if size > limit:
                raise BodyTooLarge(f"the body has more than {limit} bytes")
            if not message["more_body"]:
                return b"".join((*parts, part)) if parts else part
            parts.append(part)

    async def parts(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes, in parts of about 64 kB at most; see `Mount.body_limit`.

        Raises:
            InvalidBody: The peer went away in the middle.
        """
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise InvalidBody("the body ended too early")
            more = message["more_body"]
            if message["body"]:
                yield message["body"]

    def respond(self, status: int, head: bytes = b"", body: bytes = b"") -> None:
        """Send a whole response; see `Exchange.respond`."""
        self.connection.respond(status, head, body)

    def respond_head(self, status: int, head: bytes) -> None:
        """Answer HEAD without the length of a body that was not made.

        Nor with its coding, which depends on that.
        """
        self.exchange.start_stream(status, head)
        self.exchange.end_stream()

    async def deny(self, status: int, head: bytes, body: bytes) -> None:
        """Answer with an error, whether HTTP or before an upgrade."""
        if not self.is_websocket:
            self.exchange.respond(status, head, body)
            return
        # uvicorn adds its default headers to what is accepted only.
        head = self.connection.port.head + head
        lines = (line.partition(b": ") for line in head.split(b"\r\n") if line)
        headers = [(name, value) for name, _, value in lines]
        await self.send(
            {"type": "websocket.http.response.start", "status": status, "headers": headers}
        )
        await self.send({"type": "websocket.http.response.body", "body": body})


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in pairs:
        before = headers.get(name)
        headers[name] = value if before is None else before + b", " + value
    return headers
