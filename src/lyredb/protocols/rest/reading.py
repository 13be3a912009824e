"""GET and HEAD of records, properties, collections and tables (conventions 3.1 to 3.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import unquote_to_bytes

from lyredb.errors import InvalidQuery, RecordNotFound, UnknownAttribute
from lyredb.formats import guess_json
from lyredb.protocols.http.entity_tags import matches_weakly
from lyredb.protocols.http.extension import split_extension
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.collection import send_collection
from lyredb.protocols.rest.service import PROTOCOL, Service, head_of
from lyredb.resources.requests import Reading
from lyredb.resources.target import Target
from lyredb.storage.clock import etag
from lyredb.tables.query.parse_url import parse_query
from lyredb.tables.query.terms import EVERYTHING, ID_NAME, UPDATED_NAME, Query, Select

_SANDBOX: Final = b"content-security-policy: sandbox\r\n"
"""What somebody stored is not run as a page of ours."""


def get_record(service: Service, request: Request, target: Target) -> bool:
    """Answer with the record: 200, 304, or 404.

    Returns:
        False when there is none, and the path may be read in another way.
    """
    reading = service.database.get(target, request.context(PROTOCOL))
    if reading is None:
        if split_extension(request.path) is not None:
            return False
        raise RecordNotFound("there is no such record")
    tag = etag(reading.version)
    known = request.headers.get(b"if-none-match")
    if known is not None and matches_weakly(known.decode("latin-1"), tag):
        request.respond(304, f"etag: {tag}\r\nvary: accept\r\n".encode())
        return True
    if request.query:
        select = _select_of(request)
        if select is not None:
            _send(service, request, selected(reading, select), tag)
            return True
    payload = reading.payload
    if payload is None:
        _send(service, request, reading.value(), tag)
        return True
    kind = _payload_type(reading.content_type, payload)
    head = f"content-type: {kind}\r\netag: {tag}\r\nvary: accept\r\n".encode("ascii")
    request.respond(200, head + _SANDBOX, payload)
    return True


async def get_by_ending(service: Service, request: Request) -> None:
    """Answer for the path without the name of a format at its end, which then decides."""
    split = split_extension(request.path)
    assert split is not None, "looked at before"
    request.path, chosen = split
    request.headers[b"accept"] = chosen.media_type.encode()
    target = service.database.resolve(request.path, request.context(PROTOCOL))
    answer = NOW[target.kind]
    if answer is None:
        await get_collection(service, request, target)
    elif not answer(service, request, target):
        raise RecordNotFound("there is no such record")


def get_property(service: Service, request: Request, target: Target) -> bool:
    """Answer with one attribute: 200, 304, or 404 when it is absent.

    A record that has the whole path as its id comes first, as it does before the ending
    that names a format.
    """
    literal = service.database.registry.literal(target)
    if literal is not None and service.database.get(literal, request.context(PROTOCOL)):
        return get_record(service, request, literal)
    reading = service.database.get(target, request.context(PROTOCOL))
    if reading is None:
        raise RecordNotFound("there is no such record")
    found = reading.select((target.attribute,))
    if target.attribute not in found:
        raise UnknownAttribute(f"the record has no {target.attribute}")
    tag = etag(reading.version)
    known = request.headers.get(b"if-none-match")
    if known is not None and matches_weakly(known.decode("latin-1"), tag):
        request.respond(304, f"etag: {tag}\r\nvary: accept\r\n".encode())
        return True
    value = found[target.attribute]
    if isinstance(value, bytes):
        head = f"content-type: application/octet-stream\r\netag: {tag}\r\n".encode()
        request.respond(200, head, value)
        return True
    _send(service, request, value, tag)
    return True


def get_table(service: Service, request: Request, target: Target) -> bool:
    """Answer with the table's description.

    Returns:
        False when there is a query, so that the table is meant as a collection.
    """
    if request.query:
        return False
    description = service.database.describe(target, request.context(PROTOCOL))
    chosen = service.format_of(request)
    request.respond(200, head_of(chosen), chosen.encode(description))
    return True


async def get_collection(service: Service, request: Request, target: Target) -> None:
    """Answer with the matching records, streamed when they are many."""
    chosen = service.format_of(request)
    query = query_of(request)
    found = service.database.search(target, query, request.context(PROTOCOL))
    if request.method == "HEAD":
        request.respond_head(200, head_of(chosen))
        return
    await send_collection(request, chosen, found, service.searches)


def query_of(request: Request) -> Query:
    """The query behind ``?``.

    Raises:
        InvalidQuery: It cannot be understood.
    """
    raw = request.query
    try:
        text = raw.decode()
        unquote_to_bytes(raw).decode()  # the parser's own decoding replaces what is wrong
    except UnicodeDecodeError:
        raise InvalidQuery("the query is not UTF-8") from None
    return parse_query(text)


def _select_of(request: Request) -> Select | None:
    query = query_of(request)
    if query != Query(select=query.select):
        raise InvalidQuery("a single record takes select(…) only")
    return query.select


def selected(reading: Reading, select: Select) -> object:
    """What a select makes of one record."""
    names = tuple(item.name for item in select.items)
    if any(item.select for item in select.items):
        raise InvalidQuery("selecting attributes of related records is not supported yet")
    if EVERYTHING in names:
        return reading.value()
    plain = tuple(name for name in names if name not in (ID_NAME, UPDATED_NAME))
    found = reading.select(plain) if plain else {}
    if ID_NAME in names:
        key = reading.id
        found[ID_NAME] = list(key) if isinstance(key, tuple) else key
    if UPDATED_NAME in names:
        found[UPDATED_NAME] = reading.updated_ms
    match select.form:
        case "values":
            return found.get(names[0])
        case "arrays":
            return [found.get(name) for name in names]
        case _:
            return {name: found[name] for name in names if name in found}


def _send(service: Service, request: Request, value: object, tag: str) -> None:
    chosen = service.format_of(request)
    head = f"content-type: {chosen.media_type}\r\netag: {tag}\r\nvary: accept\r\n".encode()
    request.respond(200, head, chosen.encode(value))


def _payload_type(content_type: str, payload: bytes) -> str:
    """The type of bytes that were stored as received; guessed when nothing was said."""
    if content_type:
        # MQTT lets any text through, so what a header cannot hold does not count.
        is_clean = content_type.isascii() and content_type.isprintable()
        return content_type if is_clean else "application/octet-stream"
    if guess_json(payload):
        return "application/json"
    try:
        payload.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain; charset=utf-8"


NOW: Final[dict[str, Callable[[Service, Request, Target], bool] | None]] = {
    "record": get_record,
    "property": get_property,
    "table": get_table,
    "collection": None,
}
"""What is answered without waiting, by kind of target."""
