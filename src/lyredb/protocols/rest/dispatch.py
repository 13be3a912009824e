"""From a request to the function that answers it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from lyredb.errors import NotAuthorised, UnknownTopic, UnsupportedOperation
from lyredb.plugins.context import Context
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest import reading, writing
from lyredb.protocols.rest.service import PROTOCOL, Service
from lyredb.resources.database import Database
from lyredb.resources.target import Target
from lyredb.security.principals import ANONYMOUS

Answer = Callable[[Service, Request, Target], Awaitable[None]]

_RESOLVING: Final = Context(ANONYMOUS, PROTOCOL)
"""Paths are the same for everybody; rights are decided by each operation."""
_SAFE: Final = frozenset(("GET", "HEAD", "OPTIONS"))

_ANSWERS: Final[dict[str, dict[str, Answer]]] = {
    "record": {
        "GET": reading.get_record,
        "HEAD": reading.get_record,
        "PUT": writing.put_record,
        "PATCH": writing.patch_record,
        "DELETE": writing.delete_record,
    },
    "property": {"GET": reading.get_property, "HEAD": reading.get_property},
    "collection": {
        "GET": reading.get_collection,
        "HEAD": reading.get_collection,
        "POST": writing.post_record,
    },
    "table": {"GET": reading.get_table, "HEAD": reading.get_table},
}


def methods_of(target: Target) -> tuple[str, ...]:
    """The methods that a target answers, for ``Allow``."""
    methods = [*_ANSWERS[target.kind], "OPTIONS"]
    if target.prefix:
        methods.remove("POST")  # a generated key does not begin with the prefix
    return tuple(methods)


class Rest:
    """The handler that is mounted.

    Args:
        database: Where everything is.
        authentication: Who asks.
        max_body_bytes: Largest body.
    """

    def __init__(
        self, database: Database, authentication: Authentication, *, max_body_bytes: int
    ) -> None:
        self._resolve = database.resolve
        self._authentication = authentication
        self._service = Service(database, max_body_bytes)

    def wants_table(self, request: Request) -> bool:
        """Tell whether an exported table has this path.

        Raises:
            InvalidKey, RecordNotFound: It has, and the rest cannot be one of its keys.
        """
        target = self._target(request)
        return target is not None and not target.table.is_open_topics

    def wants_open_topic(self, request: Request) -> bool:
        """Tell whether the path is one of the topics that belong to no table."""
        target = self._target(request)
        return target is not None and target.table.is_open_topics

    def _target(self, request: Request) -> Target | None:
        if request.is_websocket:
            return None
        if request.target is None:
            try:
                request.target = self._resolve(request.path, _RESOLVING)
            except UnknownTopic:
                return None
        return request.target

    async def answer(self, request: Request) -> None:
        """Authenticate, then answer by method and kind of target."""
        target, method = request.target, request.method
        assert target is not None, "resolved by the predicate"
        if method == "OPTIONS":
            allow = ", ".join(methods_of(target))
            request.respond(204, f"allow: {allow}\r\n".encode())
            return
        answer = _ANSWERS[target.kind].get(method)
        if answer is None or (target.prefix and method == "POST"):
            raise UnsupportedOperation(f"{method} is not possible here", allowed=methods_of(target))
        if self._authentication.quick(request) is None:
            await self._authentication.authenticate(request)
        if method not in _SAFE:
            refuse_foreign(request)
        await answer(self._service, request, target)


def refuse_foreign(request: Request) -> None:
    """Refuse what a page of another site makes a browser send with its stored login.

    Such pages cannot read our answers, but without this they could write (CSRF).

    Raises:
        NotAuthorised: Sec-Fetch-Site says that it comes from another site.
    """
    if request.headers.get(b"sec-fetch-site") == b"cross-site":
        raise NotAuthorised("pages of other sites may not write")
