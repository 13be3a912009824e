"""``/$token``: programs get tokens here, in the words of OAuth 2.0 (RFC 6749 §5.1).

POST with ``username`` and ``password`` makes a pair; POST with ``refresh_token`` makes a
new access token of it. Both as JSON or as a form.
"""

from __future__ import annotations

from typing import Final

from lyredb.errors import UnsupportedOperation
from lyredb.formats import JSON
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.login_body import NO_STORE, log_in, read_fields
from lyredb.protocols.http.request import Request
from lyredb.security.tokens import TokenPair, Tokens

PATH: Final = "$token"
_HEAD: Final = b"content-type: application/json\r\npragma: no-cache\r\n" + NO_STORE


class TokenRoot:
    """Answers ``/$token``.

    Args:
        authentication: Who asks.
        tokens: Makes them.
    """

    def __init__(self, authentication: Authentication, tokens: Tokens) -> None:
        self._authentication = authentication
        self._tokens = tokens

    def wants(self, request: Request) -> bool:
        """Tell whether the request is for this."""
        return not request.is_websocket and request.path == PATH

    async def answer(self, request: Request) -> None:
        """Make a pair, or renew one."""
        if request.method != "POST":
            raise UnsupportedOperation("tokens are made by POST", allowed=("POST",))
        fields = await read_fields(request)
        request.respond(200, _HEAD, told(await self._pair(request, fields)))

    async def _pair(self, request: Request, fields: dict[str, str]) -> TokenPair:
        refresh = fields.get("refresh_token")
        if refresh is None:
            account = await log_in(request, self._authentication, fields, "password")
            return self._tokens.issue(account.name)
        request.login = "bearer"  # what a refusal is about
        return self._tokens.refresh(refresh)


def told(pair: TokenPair) -> bytes:
    """Return a pair as JSON."""
    return JSON.encode(
        {
            "access_token": pair.access,
            "token_type": "Bearer",
            "expires_in": pair.expires_in_s,
            "refresh_token": pair.refresh,
        }
    )
