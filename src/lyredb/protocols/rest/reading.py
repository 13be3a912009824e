"""GET and HEAD of records, properties and descriptions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lyredb.errors import InvalidQuery, LyreError, RecordNotFound, UnknownAttribute
from lyredb.formats import PAUSE, guess_json
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest import collection
from lyredb.protocols.rest.collection import Sending, answer_collection
from lyredb.protocols.rest.paths import has_ending, resolve, without_ending
from lyredb.protocols.rest.preconditions import is_known, last_modified
from lyredb.protocols.rest.querying import query_of
from lyredb.protocols.rest.service import PROTOCOL, Service, head_of
from lyredb.resources.requests import Reading
from lyredb.resources.target import Target
from lyredb.storage.clock import etag, version_ms
from lyredb.tables.query.terms import Condition, Query, Select, Selected
from lyredb.tables.stored import DATA

_SANDBOX: Final = b"content-security-policy: sandbox\r\n"
"""What somebody stored is not run as a page of ours."""
_NO_RECORD: Final = "there is no such record"


def get_record(service: Service, request: Request, target: Target) -> bool:
    """Answer with the record: 200, 304, or 404.

    Returns:
        False when there is none, and the path may be read in another way.
    """
    reading = service.database.get(target, request.context(PROTOCOL))
    if reading is None:
        if has_ending(request):
            return False
        raise _missing(service, request, target)
    head = _validators(service, request, reading)
    if head is None:
        return True
    if request.query:
        select = _select_of(request)
        if select is not None:
            _send(service, request, selected(service, request, target, select), head)
            return True
    payload = reading.payload
    if payload is None:
        _send(service, request, reading.value(), head)
        return True
    _send_payload(request, reading.content_type, payload, head)
    return True


def _send_payload(request: Request, content_type: str, payload: bytes, head: bytes) -> None:
    kind = payload_type(content_type, payload)
    request.respond(200, f"content-type: {kind}\r\n".encode("ascii") + head + _SANDBOX, payload)


def _validators(service: Service, request: Request, reading: Reading) -> bytes | None:
    """The header lines that tell a record's state; ``None`` when 304 was answered."""
    tag = etag(reading.version)
    head = f"etag: {tag}\r\nvary: accept\r\n".encode()
    by_date = service.options.last_modified
    if by_date:
        head += last_modified(reading.version)
    if not is_known(request, tag, reading.version, by_date=by_date):
        return head
    request.respond(304, head)
    return None


def _missing(service: Service, request: Request, target: Target) -> LyreError:
    """What is told of a record that is not there; of a deleted one, when it went away."""
    if service.options.last_modified:
        version = service.database.deleted_version(target, request.context(PROTOCOL))
        if version:
            return RecordNotFound(_NO_RECORD, deleted_ms=version_ms(version))
    return RecordNotFound(_NO_RECORD)


async def get_by_ending(service: Service, request: Request) -> None:
    """Answer for the path without the name of a format at its end, which then decides."""
    found = without_ending(request)
    assert found, "looked at before"
    target = resolve(service, request)
    answer = NOW[target.kind]
    if answer is None:
        await get_collection(service, request, target)
    elif not answer(service, request, target):
        raise _missing(service, request, target)


def get_property(service: Service, request: Request, target: Target) -> bool:
    """Answer with one attribute: 200, 304, or 404 when it is absent."""
    if request.query:
        raise InvalidQuery("an attribute takes no query; ask its record for select(…)")
    reading = service.database.get(target, request.context(PROTOCOL))
    if reading is None:
        raise _missing(service, request, target)
    name = target.attribute
    attribute = target.table.schema.attribute(name)
    if attribute is not None and attribute.relation is not None:
        found = selected(service, request, target, Select((Selected(name),)))
    else:
        found = reading.select((name,))
    if not isinstance(found, dict) or name not in found:
        raise UnknownAttribute(f"the record has no {name}")
    head = _validators(service, request, reading)
    if head is None:
        return True
    value = found[name]
    payload = reading.payload
    if payload is not None and name == DATA:
        _send_payload(request, reading.content_type, payload, head)
        return True
    if isinstance(value, bytes):
        request.respond(200, b"content-type: application/octet-stream\r\n" + head, value)
        return True
    _send(service, request, value, head)
    return True


def get_table(service: Service, request: Request, target: Target) -> bool:
    """Answer with the table's description."""
    counts = service.options.counts
    description = service.database.describe(target, request.context(PROTOCOL), counts=counts)
    chosen = service.format_of(request)
    request.respond(200, head_of(chosen), chosen.encode(description))
    return True


async def get_collection(service: Service, request: Request, target: Target) -> None:
    """Answer with the matching records, streamed when they are many."""
    await answer_collection(service, request, target, query_of(request))


def begin_collection(service: Service, request: Request, target: Target) -> Sending | None:
    """As `get_collection`; what would take long is returned, only begun."""
    return collection.begin_collection(service, request, target, query_of(request))


def _select_of(request: Request) -> Select | None:
    query = query_of(request)
    if query != Query(select=query.select):
        raise InvalidQuery("a single record takes select(…) only")
    return query.select


def selected(service: Service, request: Request, target: Target, select: Select) -> object:
    """What a select makes of one record.

    Raises:
        RecordNotFound: It went away a moment ago.
    """
    key = target.id if not isinstance(target.id, tuple) else list(target.id)
    where = Condition((target.table.schema.primary_key,), "equals", key)
    collection = service.database.registry.collection(target.table)
    context = request.context(PROTOCOL)
    for found in service.database.search(collection, Query(where, select=select), context):
        if found is not PAUSE:
            return found
    raise RecordNotFound(_NO_RECORD)


def _send(service: Service, request: Request, value: object, head: bytes) -> None:
    chosen = service.format_of(request)
    request.respond(200, chosen.head + head, chosen.encode(value))


def payload_type(content_type: str, payload: bytes) -> str:
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
