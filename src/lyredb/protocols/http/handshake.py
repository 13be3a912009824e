"""The upgrade of a connection to a protocol inside of a WebSocket (RFC 6455 §4.2).

Order: is it a proper upgrade, does it come from our own pages, who is it; only then 101.
Other upgrades take uvicorn's way through the router, once they are known to be proper.
Frames that came with the request wait for the answer.
"""

from __future__ import annotations

import asyncio
import logging
from base64 import b64decode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from websockets.utils import accept_key

from lyredb.errors import InvalidHeader, LoginRequired, LyreError, NotAuthorised, ServerStopping
from lyredb.protocols.http.framer import Framer
from lyredb.protocols.http.port import Port
from lyredb.protocols.http.request import Request
from lyredb.protocols.http.websocket import WebSocketConnection
from lyredb.security.authenticator import Account, Authenticator

if TYPE_CHECKING:
    from lyredb.protocols.http.guard import Guard
    from lyredb.protocols.http.upgrade import UpgradeFactory

logger: Final = logging.getLogger("lyredb.http")


_WRONG_VERSION: Final = (
    b"sec-websocket-version: 13\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
)
"""What a client can do about it (RFC 6455 §4.4, RFC 9110 §15.5.22)."""


def begin_upgrade(guard: Guard, early: bytes) -> None:
    """Answer a request for WebSocket, or hand it on to the router.

    Args:
        guard: Has the request's headers.
        early: What came behind them.
    """
    request = Request(_scope_of(guard), _nothing, _nothing)
    if request.scope["method"] == "GET" and request.header(b"sec-websocket-version") != "13":
        error = InvalidHeader("Sec-WebSocket-Version must be 13")
        guard.refuse_upgrade(error, 426, _WRONG_VERSION)
        return
    try:
        key = check_upgrade(request)
    except InvalidHeader as error:
        guard.refuse_upgrade(error)
        return
    upgrade = offered_upgrade(guard.headers, guard.port)
    if upgrade is not None:
        guard.flow.pause_reading()
        upgrade.begin(guard, request, key, early)
        return
    guard.connections.discard(guard)
    connection = WebSocketConnection(guard.config, guard.port, guard.app_state, guard.loop)
    connection.begin(guard.transport, guard.scope, early)


def without_offer(method: bytes, url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return the head of a request without the upgrade that it offers."""
    head = [method, b" ", url, b" HTTP/1.1\r\n"]
    for name, value in headers:
        if name != b"upgrade":
            head += [name, b": ", value, b"\r\n"]
    return b"".join((*head, b"\r\n"))


def offered_upgrade(headers: Iterable[tuple[bytes, bytes]], port: Port) -> Upgrade | None:
    """Return the upgrade to the first offered sub-protocol that is registered."""
    for name, value in headers:
        if name != b"sec-websocket-protocol":
            continue
        for token in value.split(b","):
            factory = port.upgrades.get(token.strip().decode("latin-1"))
            if factory is not None:
                return Upgrade(token.strip(), factory)
    return None


@dataclass(frozen=True, slots=True)
class Upgrade:
    """One upgrade that a client wants.

    Attributes:
        subprotocol: As the client wrote it.
        factory: Makes the connection inside.
    """

    subprotocol: bytes
    factory: UpgradeFactory

    def begin(self, guard: Guard, request: Request, key: str, early: bytes) -> None:
        """Log in and answer in a task of the server; the guard reads nothing meanwhile."""
        task = guard.loop.create_task(self._run(guard, request, key, early))
        guard.tasks.add(task)
        task.add_done_callback(guard.tasks.discard)

    async def _run(self, guard: Guard, request: Request, key: str, early: bytes) -> None:
        try:
            account = await self._login(guard.port, request)
        except LyreError as error:
            guard.refuse_upgrade(error)
            return
        except asyncio.CancelledError:
            guard.refuse_upgrade(ServerStopping("the server is shutting down"))
            raise
        except Exception as error:
            logger.exception("upgrade of %s failed", request.peer)
            guard.refuse_upgrade(error)
            return
        if not guard.transport.is_closing():
            self._switch(guard, request, account, key, early)

    @staticmethod
    async def _login(port: Port, request: Request) -> Account | None:
        if port.authentication is None:
            raise NotAuthorised("nobody can log in here")
        port.authentication.admit_socket(request)  # strangers' pages learn nothing of logins
        account = await port.authentication.authenticate(request)
        port.authentication.admit_socket(request)  # a cookie demands more
        if request.anonymous_because:
            raise LoginRequired(f"Must login: {request.anonymous_because}")
        if account in (Authenticator.anonymous, Authenticator.local):
            return None  # the protocol inside has its own login, and its own rule for loopback
        return account

    def _switch(
        self, guard: Guard, request: Request, account: Account | None, key: str, early: bytes
    ) -> None:
        transport = guard.transport
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\n%bupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: %b\r\nsec-websocket-protocol: %b\r\n\r\n"
            % (guard.port.head, accept_key(key).encode(), self.subprotocol)
        )
        guard.connections.discard(guard)
        framer = Framer(transport, guard.port, guard.peer)
        framer.attach(self.factory(framer, request, account))
        transport.resume_reading()
        if early:
            framer.data_received(early)


def check_upgrade(request: Request) -> str:
    """Return the key of a proper upgrade.

    Raises:
        InvalidHeader: It is none.
    """
    if request.scope["method"] != "GET":
        raise InvalidHeader("an upgrade to WebSocket is a GET")
    key = request.header(b"sec-websocket-key").strip()
    try:
        if len(b64decode(key, validate=True)) == 16:
            return key
    except ValueError:  # not base64, or not ASCII
        pass  # said below, as for a key of another length
    raise InvalidHeader("Sec-WebSocket-Key must be 16 bytes in base64")


def _scope_of(guard: Guard) -> dict[str, Any]:
    return {**guard.scope, "type": "websocket", "extensions": {}}


async def _nothing(*_: Any) -> Any:
    raise RuntimeError("an upgrade has neither body nor ASGI messages")
