"""From a request to the function that answers it."""

from __future__ import annotations

from typing import Final

from lyredb.errors import (
    InvalidQuery,
    UnknownTopic,
    UnsupportedContentType,
    UnsupportedOperation,
)
from lyredb.plugins.context import Context
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest import reading
from lyredb.protocols.rest.searches import OpenSearches
from lyredb.protocols.rest.service import PROTOCOL, Service
from lyredb.protocols.rest.writing import OPERATIONS, WRITES, Fail, perform, submit
from lyredb.resources.database import Database
from lyredb.resources.registry import Registry
from lyredb.resources.target import Target

_READS: Final = frozenset(("GET", "HEAD"))


def methods_of(target: Target) -> tuple[str, ...]:
    """The methods that a target answers, for ``Allow``."""
    target = _as_written(target)
    writes = () if target.prefix else WRITES[target.kind]
    # Not POST below a prefix: a generated key does not begin with it.
    return ("GET", "HEAD", *writes, "OPTIONS")


def _as_written(target: Target) -> Target:
    """What a write to a path means: never an attribute, but the record of that id."""
    if target.kind != "property":
        return target
    return Registry.literal(target) or target


class Rest:
    """The handler that is mounted.

    Args:
        database: Where everything is.
        authentication: Who asks.
        max_body_bytes: Largest body.
        max_open_searches: Long results that are sent at a time.
    """

    def __init__(
        self,
        database: Database,
        authentication: Authentication,
        *,
        max_body_bytes: int,
        max_open_searches: int,
    ) -> None:
        self._resolve = database.registry.resolve
        self._authentication = authentication
        self._service = Service(database, max_body_bytes, OpenSearches(max_open_searches))

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
                request.target = self._resolve(request.path, PROTOCOL)
            except UnknownTopic:
                return None
        return request.target

    def now(self, request: Request, fail: Fail) -> bool:
        """Answer at once what needs no waiting, and send writes that are here as a whole.

        That is most requests, by whoever was here before.
        """
        target = request.target
        assert target is not None, "resolved by the predicate"
        method = request.method
        if method in _READS:
            answer = reading.NOW[target.kind]
            if answer is None or self._authentication.quick(request) is None:
                return False
            return answer(self._service, request, target)
        target = _as_written(target)
        prepare = None if target.prefix else WRITES[target.kind].get(method)
        if prepare is None or self._authentication.quick(request) is None:
            return False
        context = request.context(PROTOCOL)
        self._admit(request, target, context)
        prepared = prepare(self._service, request, target, bytes(request.exchange.body))
        submit(self._service, request, prepared, context, fail)
        return True

    async def answer(self, request: Request) -> None:
        """Authenticate, then answer by method and kind of target."""
        target, method = request.target, request.method
        assert target is not None, "resolved by the predicate"
        if method == "OPTIONS":
            allow = ", ".join(methods_of(target))
            request.respond(204, f"allow: {allow}\r\n".encode())
            return
        if method not in methods_of(target):
            raise UnsupportedOperation(f"{method} is not possible here", allowed=methods_of(target))
        if request.account is None:
            await self._authentication.authenticate(request)
        if method in _READS:
            await self._read(request, target)
            return
        target = _as_written(target)
        context = request.context(PROTOCOL)
        self._admit(request, target, context)
        await perform(self._service, request, target, WRITES[target.kind][method], context)

    def _admit(self, request: Request, target: Target, context: Context) -> None:
        """Refuse before the body is looked at: strangers learn nothing about it."""
        self._authentication.admit_change(request)
        _refuse_compressed(request)
        _refuse_query(request)
        operation = OPERATIONS[request.method]
        self._service.database.admit(operation, target, context)

    async def _read(self, request: Request, target: Target) -> None:
        answer = reading.NOW[target.kind]
        if answer is not None and answer(self._service, request, target):
            return
        if target.kind == "record":
            await reading.get_by_ending(self._service, request)
        else:
            await reading.get_collection(self._service, request, target)


def _refuse_query(request: Request) -> None:
    """Refuse conditions that a write would not heed.

    Raises:
        InvalidQuery: There is a query.
    """
    if request.query:
        raise InvalidQuery("a write takes no query")


def _refuse_compressed(request: Request) -> None:
    """Refuse what would be stored as it is and never read again by anybody.

    Raises:
        UnsupportedContentType: The body has a content coding (RFC 9110 §8.4).
    """
    coding = request.headers.get(b"content-encoding")
    if coding is not None and coding.strip().lower() not in (b"", b"identity"):
        raise UnsupportedContentType("compressed bodies are not taken yet; send it as it is")
