"""From a request to the function that answers it."""

from __future__ import annotations

from typing import Final

from lyredb.errors import (
    InvalidQuery,
    UnknownTopic,
    UnsupportedOperation,
)
from lyredb.plugins.context import Context
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest import reading
from lyredb.protocols.rest.blobs import body_limit, get_blob, is_blob, put_blob
from lyredb.protocols.rest.methods import READS, methods_of, operation_of
from lyredb.protocols.rest.paths import resolve
from lyredb.protocols.rest.prepared import Batch
from lyredb.protocols.rest.querying import answer_query
from lyredb.protocols.rest.service import PROTOCOL, Service
from lyredb.protocols.rest.tracing import answer_trace
from lyredb.protocols.rest.writing import Fail, perform, prepare_of, submit
from lyredb.resources.target import Target

BLOB_METHODS: Final = ("GET", "HEAD", "PUT")
"""Those that wait for files."""
_LISTS: Final = b"["
"""How the bodies begin that are many writes, nearly always; see `Rest.now`."""


class Rest:
    """The handler that is mounted.

    Args:
        service: What all answers share.
        authentication: Who asks.
    """

    def __init__(self, service: Service, authentication: Authentication) -> None:
        self._authentication = authentication
        self._service = service

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
                request.target = resolve(self._service, request)
            except UnknownTopic:
                return None
        return request.target

    def body_limit(self, request: Request) -> int:
        """Return how large the body may be, where larger than others; see `Mount`."""
        return body_limit(self._service, request)

    def now(self, request: Request, fail: Fail) -> bool:
        """Answer at once what needs no waiting, and send writes that are here as a whole.

        That is most requests, by whoever was here before.
        """
        target = request.target
        assert target is not None, "resolved by the predicate"
        method = request.method
        if is_blob(target) and method in BLOB_METHODS:
            return False
        if method in READS:
            if self._authentication.quick(request) is None:
                return False
            answer = reading.NOW[target.kind]
            if answer is None:
                sending = reading.begin_collection(self._service, request, target)
                request.begun = None if sending is None else sending.finish
                return sending is None
            return answer(self._service, request, target)
        prepare = prepare_of(method, target)
        body = request.exchange.body
        if prepare is None or (body.startswith(_LISTS) and target.kind == "collection"):
            return False
        if self._authentication.quick(request) is None:
            return False
        context = request.context(PROTOCOL)
        self._admit(request, target, context)
        prepared = prepare(self._service, request, target, bytes(body))
        if isinstance(prepared, Batch):
            return False
        submit(self._service, request, prepared, context, fail)
        return True

    async def answer(self, request: Request) -> None:
        """Authenticate, then answer by method and kind of target."""
        target, method = request.target, request.method
        assert target is not None, "resolved by the predicate"
        if request.begun is not None:
            await request.begun()
            return
        allowed = methods_of(target)
        if method not in allowed:
            raise UnsupportedOperation(f"{method} is not possible here", allowed=allowed)
        if method == "OPTIONS":
            request.respond(204, f"allow: {', '.join(allowed)}\r\n".encode())
            return
        if method == "TRACE":
            answer_trace(request)
            return
        if request.account is None:
            await self._authentication.authenticate(request)
        if method in READS:
            await self._read(request, target)
        elif method == "QUERY":
            await answer_query(self._service, request, target)
        else:
            await self._write(request, target)

    async def _write(self, request: Request, target: Target) -> None:
        context = request.context(PROTOCOL)
        self._admit(request, target, context)
        if request.method == "PUT" and is_blob(target):
            await put_blob(self._service, request, target, context)
            return
        await perform(self._service, request, target, context)

    def _admit(self, request: Request, target: Target, context: Context) -> None:
        """Refuse before the body is looked at: strangers learn nothing about it."""
        self._authentication.admit_change(request)
        if request.query and not _takes_query(request.method, target):
            raise InvalidQuery("a write takes no query")
        self._service.database.admit(operation_of(request.method, target), target, context)

    async def _read(self, request: Request, target: Target) -> None:
        if is_blob(target):
            await get_blob(self._service, request, target)
            return
        answer = reading.NOW[target.kind]
        if answer is None:
            await reading.get_collection(self._service, request, target)
        elif not answer(self._service, request, target):
            await reading.get_by_ending(self._service, request)


def _takes_query(method: str, target: Target) -> bool:
    """Only a DELETE of a collection says by a query which records it is about."""
    return method == "DELETE" and target.kind == "collection"
