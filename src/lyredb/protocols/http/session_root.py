"""``/$session``: browsers log in and out here, and learn who they are.

POST with ``username`` and ``password`` sets the cookie, which EventSource and WebSocket
send by themselves; GET tells who asks, DELETE logs out.
"""

from __future__ import annotations

from typing import Final

from lyredb.errors import UnsupportedOperation
from lyredb.formats import JSON
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.cookies import end_cookie, write_cookie
from lyredb.protocols.http.login_body import NO_STORE, log_in, read_fields
from lyredb.protocols.http.request import Request
from lyredb.security.authenticator import Account
from lyredb.security.web_sessions import WebSessions

PATH: Final = "$session"
_METHODS: Final = ("GET", "HEAD", "POST", "DELETE")
_HEAD: Final = b"content-type: application/json\r\nvary: cookie, authorization\r\n" + NO_STORE


class SessionRoot:
    """Answers ``/$session``.

    Args:
        authentication: Who asks.
        sessions: Where sessions are.
    """

    def __init__(self, authentication: Authentication, sessions: WebSessions) -> None:
        self._authentication = authentication
        self._sessions = sessions

    def wants(self, request: Request) -> bool:
        """Tell whether the request is for this."""
        return not request.is_websocket and request.path == PATH

    async def answer(self, request: Request) -> None:
        """Answer by method."""
        match request.method:
            case "GET" | "HEAD":
                account = await self._authentication.authenticate(request)
                request.respond(200, _HEAD, told(account))
            case "POST":
                await self._begin(request)
            case "DELETE":
                await self._end(request)
            case method:
                raise UnsupportedOperation(f"{method} is not possible here", allowed=_METHODS)

    async def _begin(self, request: Request) -> None:
        fields = await read_fields(request)
        account = await log_in(request, self._authentication, fields, "session")
        before = self._authentication.cookie_of(request)
        session = await self._sessions.create(account.name)
        if before:  # a new login has a new secret, and the old one ends with it
            await self._sessions.remove(before)
        cookie = write_cookie(
            session.secret,
            max_age_s=session.expires_in_s,
            is_secure=self._authentication.is_secure(request),
        )
        request.respond(200, _HEAD + cookie, told(account))

    async def _end(self, request: Request) -> None:
        self._authentication.origins.require_own(request, proof=False)
        secret = self._authentication.cookie_of(request)
        if secret:
            await self._sessions.remove(secret)
        is_secure = self._authentication.is_secure(request)
        request.respond(204, NO_STORE + end_cookie(is_secure=is_secure))


def told(account: Account) -> bytes:
    """Return who somebody is as JSON; ``user`` is null for nobody in particular."""
    role = account.principal
    return JSON.encode(
        {"user": account.name or None, "role": role.name, "superUser": role.super_user}
    )
