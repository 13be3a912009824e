"""``/openapi``: the document over HTTP, for super users."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lyredb.errors import NotAuthorised, UnsupportedOperation
from lyredb.formats import JSON, YAML, AnswerFormat, negotiate
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.openapi.api import Api
from lyredb.protocols.rest.openapi.document import document

PATH: Final = "openapi"
PRIORITY: Final = 90
"""The root is the server's own: no table or file has it."""
_FORMATS: Final[tuple[AnswerFormat, ...]] = (JSON, YAML)


class OpenApi:
    """Answers ``/openapi``.

    Args:
        api: Returns what there is now: tables come and go with reloads.
        authentication: Who asks.
    """

    def __init__(self, api: Callable[[], Api], authentication: Authentication) -> None:
        self._api = api
        self._authentication = authentication

    def wants(self, request: Request) -> bool:
        """Tell whether the request is for this."""
        return request.path == PATH and not request.is_websocket

    async def answer(self, request: Request) -> None:
        """Answer with the document.

        Raises:
            UnsupportedOperation: Another method than GET or HEAD.
            NotAuthorised: Who asks is no super user.
            NotAcceptable: Neither JSON nor YAML is accepted.
        """
        if request.method not in ("GET", "HEAD"):
            raise UnsupportedOperation("the document can only be read", allowed=("GET", "HEAD"))
        account = await self._authentication.authenticate(request)
        if not account.principal.super_user:
            raise NotAuthorised("the document is for super users")
        chosen = negotiate(request.header(b"accept"), _FORMATS)
        head = chosen.head + b"vary: accept\r\ncache-control: no-cache\r\n"
        request.respond(200, head, chosen.encode(document(self._api())))
