"""The upgrade of a connection to a protocol inside of a WebSocket (RFC 6455 §4.2).

Order: is it a proper upgrade, does it come from our own pages, who is it; only then 101.
Other upgrades take uvicorn's way through the router.
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
from lyredb.protocols.http.authentication import other_site_because
from lyredb.protocols.http.framer import Framer
from lyredb.protocols.http.port import Port
from lyredb.protocols.http.request import Request
from lyredb.security.authenticator import Account, Authenticator

if TYPE_CHECKING:
    from lyredb.protocols.http.guard import Guard
    from lyredb.protocols.http.upgrade import UpgradeFactory

logger: Final = logging.getLogger("lyredb.http")


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

    def begin(self, guard: Guard) -> None:
        """Check and answer in a task of the server; the guard reads nothing meanwhile."""
        task = guard.loop.create_task(self._run(guard))
        guard.tasks.add(task)
        task.add_done_callback(guard.tasks.discard)

    async def _run(self, guard: Guard) -> None:
        request = Request(_scope_of(guard), _nothing, _nothing)
        try:
            key = check_upgrade(request)
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
            self._switch(guard, request, account, key)

    @staticmethod
    async def _login(port: Port, request: Request) -> Account | None:
        because = other_site_because(request)
        if because:
            raise NotAuthorised(because)
        if port.authentication is None:
            raise NotAuthorised("nobody can log in here")
        account = await port.authentication.authenticate(request)
        if request.anonymous_because:
            raise LoginRequired(f"Must login: {request.anonymous_because}")
        if account in (Authenticator.anonymous, Authenticator.local):
            return None  # the protocol inside has its own login, and its own rule for loopback
        return account

    def _switch(self, guard: Guard, request: Request, account: Account | None, key: str) -> None:
        transport = guard.transport
        transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\n%bupgrade: websocket\r\nconnection: upgrade\r\n"
            b"sec-websocket-accept: %b\r\nsec-websocket-protocol: %b\r\n\r\n"
            % (guard.port.head, accept_key(key).encode(), self.subprotocol)
        )
        guard.connections.discard(guard)
        framer = Framer(transport, guard.port)
        framer.attach(self.factory(framer, request, account))
        transport.resume_reading()


def check_upgrade(request: Request) -> str:
    """Return the key of a proper upgrade.

    Raises:
        InvalidHeader: It is none.
    """
    if request.scope["method"] != "GET":
        raise InvalidHeader("an upgrade to WebSocket is a GET")
    if request.header(b"sec-websocket-version").strip() != "13":
        raise InvalidHeader("Sec-WebSocket-Version must be 13")
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
