"""Queries: behind ``?``, as the body of QUERY, and as what DELETE is about."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote_to_bytes

from lyredb.errors import InvalidQuery
from lyredb.formats import essence_of
from lyredb.plugins.context import Context
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.bodies import FORM_TYPE, structured_value
from lyredb.protocols.rest.collection import answer_collection
from lyredb.protocols.rest.service import Service
from lyredb.resources.target import Target
from lyredb.tables.query.parse_object import read_query
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.query.terms import Query

_TEXT_TYPES: Final = ("text/plain", FORM_TYPE)
"""Of bodies that hold the text that would else stand behind ``?``."""


def query_of(request: Request) -> Query:
    """The query behind ``?``.

    Raises:
        InvalidQuery: It cannot be understood.
    """
    return _parsed(request.query)


def _parsed(raw: bytes) -> Query:
    try:
        text = raw.decode()
        unquote_to_bytes(raw).decode()  # the parser's own decoding replaces what is wrong
    except UnicodeDecodeError:
        raise InvalidQuery("the query is not UTF-8") from None
    return parse_query(text)


async def answer_query(service: Service, request: Request, target: Target) -> None:
    """QUERY: as GET of the collection, with the query in the body.

    The body is a query object, or the text of a URL's query as ``text/plain`` or a form.

    Raises:
        InvalidQuery: It makes no sense, or the path has a query too.
        LyreError: As `query_in`, and as GET.
    """
    body = await request.body(service.options.max_body_bytes)
    if request.query:
        raise InvalidQuery("QUERY has its query in the body, not in the path")
    await answer_collection(service, request, target, query_in(request, body))


def query_in(request: Request, body: bytes) -> Query:
    """Return the query that a body is; of an empty body the one that finds everything.

    Raises:
        InvalidQuery: It makes no sense.
        InvalidBody, UnsupportedContentType: It is none.
    """
    content_type = request.header(b"content-type")
    if not body:
        return Query()
    if essence_of(content_type) in _TEXT_TYPES:
        return _parsed(body)
    return read_query(structured_value(content_type, body, "a query object"))


async def delete_matching(
    service: Service, request: Request, target: Target, context: Context
) -> int:
    """DELETE of a collection: all records that match, or all; returns how many.

    Raises:
        InvalidQuery: The query cannot be understood, or asks for data.
    """
    query = query_of(request)
    if query.explain or query.select is not None:
        raise InvalidQuery("DELETE takes conditions, sort and limit only")
    return await service.database.delete_matching(target, query, context)
