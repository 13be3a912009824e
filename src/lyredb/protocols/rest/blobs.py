"""GET, HEAD and PUT of an attribute that is a blob: its bytes, streamed both ways.

What has been sent comes back as it was, with its content type; no format is negotiated.
An upload is written to a file while it comes, so it may be larger than other bodies.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final

from lyredb.errors import (
    InvalidHeader,
    NotAcceptable,
    PreconditionFailed,
    RecordMissing,
    RecordNotFound,
    UnknownAttribute,
    UnsupportedContentType,
)
from lyredb.formats import essence_of, is_media_type, is_multipart
from lyredb.plugins.context import Context
from lyredb.protocols.http.codings import plain_tag, wish_of
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.bodies import FORM_TYPE
from lyredb.protocols.rest.preconditions import is_known, last_modified, precondition_of
from lyredb.protocols.rest.ranges import range_of
from lyredb.protocols.rest.reading import payload_type
from lyredb.protocols.rest.service import PROTOCOL, Service
from lyredb.resources.requests import Reading
from lyredb.resources.target import Target
from lyredb.storage.blob import PackedBlob, is_type
from lyredb.storage.clock import etag, version_ms
from lyredb.storage.mutation import Precondition
from lyredb.tables.blob import PART_BYTES
from lyredb.tables.blob_values import BYTES, content_in, reference_in

_SANDBOX: Final = b"content-security-policy: sandbox\r\n"
"""What somebody stored is not run as a page of ours."""


def is_blob(target: Target | None) -> bool:
    """Tell whether a path names an attribute that is a blob."""
    return (
        target is not None and target.kind == "property" and target.table.is_blob(target.attribute)
    )


def body_limit(service: Service, request: Request) -> int:
    """Return how large a request's body may be at most, 0 where nothing special holds."""
    if request.method == "PUT" and is_blob(request.target):
        return service.database.uploads.max_bytes
    return 0


async def get_blob(service: Service, request: Request, target: Target) -> None:
    """Answer with the content: 200, 206 or 304.

    Raises:
        RecordNotFound: There is no record.
        UnknownAttribute: The record has no such content.
        RangeNotSatisfiable: No byte of it is in the range that was asked for.
        NotAcceptable: The client refuses it as it is.
        NotAuthorised: The principal may not read it.
    """
    reading = service.database.get(target, request.context(PROTOCOL))
    if reading is None:
        raise RecordNotFound("there is no such record")
    value = reading.select((target.attribute,)).get(target.attribute)
    reference = reference_in(value) if isinstance(value, dict) else None
    content = None if reference is not None else content_in(value)
    if content is not None and reading.payload is not None:  # all that the record is
        content = payload_type(reading.content_type, reading.payload), reading.payload
    if reference is None and content is None:
        raise UnknownAttribute(f"the record has no {target.attribute}")
    head = _validators(service, reading)
    tag = etag(reading.version)
    if is_known(request, tag, reading.version, by_date=service.options.last_modified):
        request.respond(304, head)
        return
    head += _SANDBOX
    if reference is not None:
        await _send_file(service, request, reading, reference, head)
        return
    assert content is not None, "one of the two there is"
    _send_content(service, request, reading, content, head)


def _validators(service: Service, reading: Reading) -> bytes:
    head = f"etag: {etag(reading.version)}\r\naccept-ranges: bytes\r\n".encode()
    if service.options.last_modified:
        head += last_modified(reading.version)
    return head


def _send_content(
    service: Service, request: Request, reading: Reading, content: tuple[str, bytes], head: bytes
) -> None:
    kind, data = content
    status, first, end, head = _chosen(service, request, reading, len(data), head)
    request.respond(status, _typed(kind) + head, data[first:end])


async def _send_file(
    service: Service, request: Request, reading: Reading, blob: PackedBlob, head: bytes
) -> None:
    exchange = request.exchange
    status, at, end, head = _chosen(service, request, reading, blob.size, head)
    if status == 200 and wish_of(exchange.accept_encoding).refuses_identity:
        raise NotAcceptable("blobs are sent as they are; accept identity")
    opened = await service.database.blobs.open(blob)
    try:
        exchange.start_sized(status, _typed(blob.content_type) + head, end - at)
        if request.method == "HEAD":
            at = end
        while at < end:
            part = await opened.read(at, min(PART_BYTES, end - at))
            at += len(part)
            exchange.write_part(part)
            await exchange.drain()
            if exchange.is_gone:
                return
        exchange.end_stream()
    finally:
        opened.close()


def _typed(kind: str) -> bytes:
    return f"content-type: {kind}\r\n".encode("ascii")


def _chosen(
    service: Service, request: Request, reading: Reading, size: int, head: bytes
) -> tuple[int, int, int, bytes]:
    """Status, first byte, end and header lines.

    Raises:
        RangeNotSatisfiable: No byte of it is in the range.
    """
    part = None
    if request.method == "GET" and _is_same(service, request, reading):
        part = range_of(request.header(b"range"), size)
    if part is None:
        return 200, 0, size, head
    first, end = part
    return 206, first, end, head + b"content-range: bytes %d-%d/%d\r\n" % (first, end - 1, size)


def _is_same(service: Service, request: Request, reading: Reading) -> bool:
    """Tell whether ``If-Range`` lets the range hold: the client has a part of this state."""
    condition = request.header(b"if-range").strip()
    if not condition:
        return True
    if condition[:1] == '"':
        return plain_tag(condition) == etag(reading.version)
    if condition[:2] == "W/" or not service.options.last_modified:
        return False
    try:
        moment = parsedate_to_datetime(condition)
    except (ValueError, OverflowError):
        return False
    return int(moment.timestamp()) == version_ms(reading.version) // 1000


async def put_blob(service: Service, request: Request, target: Target, context: Context) -> None:
    """Take the content: 204 once it and its record are on disk.

    Rights, type and record are looked at before the body is asked for.

    Raises:
        RecordNotFound: There is no record, and no condition asked for one.
        RecordMissing, PreconditionFailed: A condition does not hold.
        NotAuthorised, UnsupportedContentType: Before the body was read.
        LyreError: As `BlobUploads.put`; nothing was written.
    """
    uploads = service.database.uploads
    is_asked = b"if-match" in request.headers
    version = uploads.admit(target, context)
    kind = _type_of(request)
    asked = precondition_of(request) or Precondition()
    _check_now(version, asked, is_asked=is_asked)
    try:
        await uploads.put(target, request.parts(), kind, asked, context)
    except RecordMissing:
        raise RecordMissing("the record does not exist") if is_asked else _no_record() from None
    request.respond(204)


def _type_of(request: Request) -> str:
    """The type that is kept; what ``curl --data-binary`` says of everything says nothing."""
    kind = request.header(b"content-type").strip()
    if not kind or essence_of(kind) == FORM_TYPE:
        return BYTES
    if is_multipart(kind):
        raise UnsupportedContentType("multipart bodies are not taken; send the bytes alone")
    if not is_type(kind) or not is_media_type(kind):
        raise InvalidHeader(
            "Content-Type must be one type such as image/png, of at most 255 characters"
        )
    return kind


def _check_now(version: int, asked: Precondition, *, is_asked: bool) -> None:
    """Refuse what can be refused already; the commit decides, by what is there then."""
    if not version:
        raise RecordMissing("the record does not exist") if is_asked else _no_record()
    if asked.must_be_absent:
        raise PreconditionFailed("the record exists already, and the request asked for none")
    if asked.any_of is not None and version not in asked.any_of:
        raise PreconditionFailed("the record has another version")


def _no_record() -> RecordNotFound:
    return RecordNotFound("there is no such record; PUT or PATCH it as a whole first")
