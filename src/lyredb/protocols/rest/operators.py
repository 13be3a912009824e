"""``/$clients`` and ``/$retained``: MQTT clients and retained messages, for super users.

The dollar keeps them apart from tables, whose paths have none. What is asked goes to the
process that writes, which knows of all workers (`lyredb.operations.broker`).
"""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

import msgspec

from lyredb.errors import (
    InvalidQuery,
    NotAuthorised,
    Overloaded,
    RecordNotFound,
    UnsupportedOperation,
)
from lyredb.formats import JSON
from lyredb.operations.broker import ask_broker
from lyredb.operations.broker_requests import (
    MAX_LISTED,
    BrokerRequest,
    ClearRetained,
    ClientList,
    KickClient,
    ListClients,
    ListRetained,
)
from lyredb.plugins.scope import Calls
from lyredb.protocols.http.authentication import Authentication
from lyredb.protocols.http.request import Request

CLIENTS: Final = "$clients"
RETAINED: Final = "$retained"
PRIORITY: Final = 90
"""The roots are the server's own: no table or file has them."""
_HEAD: Final = JSON.head + b"cache-control: no-store\r\n"
_READS: Final = ("GET", "HEAD")

Parameters = dict[str, str]


class Operators:
    """Answers both.

    Args:
        calls: To the process that writes.
        authentication: Who asks.
    """

    def __init__(self, calls: Calls, authentication: Authentication) -> None:
        self._calls = calls
        self._authentication = authentication

    def wants(self, request: Request) -> bool:
        """Tell whether the request is for this."""
        root, _, _ = request.path.partition("/")
        return root in (CLIENTS, RETAINED) and not request.is_websocket

    async def answer(self, request: Request) -> None:
        """Do what is asked.

        Raises:
            NotAuthorised: Who asks is no super user, or a page of another site had a browser
                ask.
            UnsupportedOperation: The method is none of these paths.
            InvalidQuery: A parameter is wrong.
            LyreError: As of `Broker.perform`.
        """
        account = await self._authentication.authenticate(request)
        if not account.principal.super_user:
            raise NotAuthorised("clients and retained messages are listed for super users")
        if request.method not in _READS:
            self._authentication.admit_change(request)
        root, _, name = request.path.partition("/")
        if root == RETAINED:
            if name:
                raise RecordNotFound("name retained messages by ?filter=")
            asked = _about_retained(request)
        else:
            asked = _about_clients(request, name)
        answer = await self._ask(asked)
        if name and isinstance(asked, ListClients):
            answer = _only_one(answer, name)
        request.respond(200, _HEAD, answer)

    async def _ask(self, asked: BrokerRequest) -> bytes:
        try:
            return await ask_broker(self._calls, asked)
        except TimeoutError:
            raise Overloaded("it took too long, and may or may not be done") from None


def _about_clients(request: Request, client_id: str) -> BrokerRequest:
    if request.method in _READS:
        if client_id:
            _parameters(request)
            return ListClients(client_id=client_id)
        given = _parameters(request, "limit", "after")
        return ListClients(limit=_limit(given), after=given.get("after", ""))
    if request.method == "DELETE" and client_id:
        forget = _parameters(request, "forget").get("forget", "false")
        if forget not in ("true", "false"):
            raise InvalidQuery(f"forget must be true or false, got {forget[:60]!r}")
        return KickClient(client_id, forget == "true")
    allowed = (*_READS, "DELETE") if client_id else _READS
    raise UnsupportedOperation(f"{request.method} is not possible here", allowed=allowed)


def _about_retained(request: Request) -> BrokerRequest:
    if request.method in _READS:
        given = _parameters(request, "filter", "limit", "after")
        return ListRetained(given.get("filter", "#"), _limit(given), given.get("after", ""))
    if request.method == "DELETE":
        filter = _parameters(request, "filter").get("filter")
        if filter is None:
            raise InvalidQuery("name what to clear: ?filter=, %23 for all of it")
        return ClearRetained(filter)
    raise UnsupportedOperation(
        f"{request.method} is not possible here", allowed=(*_READS, "DELETE")
    )


def _parameters(request: Request, *known: str) -> Parameters:
    """Read the query; a parameter that does nothing here is a mistake."""
    try:
        pairs = parse_qs(request.query.decode("ascii"), keep_blank_values=True, errors="strict")
    except (UnicodeError, ValueError):
        raise InvalidQuery("the query cannot be read") from None
    for name, values in pairs.items():
        if name not in known or len(values) > 1:
            raise InvalidQuery(f"there is no parameter {name[:60]!r} here, or it stands twice")
    return {name: values[0] for name, values in pairs.items()}


def _limit(given: Parameters) -> int:
    text = given.get("limit", str(MAX_LISTED))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidQuery(f"limit must be 1 to {MAX_LISTED}, got {text[:60]!r}")
    return int(text)


def _only_one(answer: bytes, client_id: str) -> bytes:
    clients = msgspec.json.decode(answer, type=ClientList).clients
    if not clients:
        raise RecordNotFound(f"there is no client {client_id[:60]!r}")
    return msgspec.json.encode(clients[0])
