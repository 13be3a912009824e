"""PUT, PATCH, DELETE and POST (conventions 3.2). Each answers once it is on disk."""

from __future__ import annotations

from lyredb.errors import InvalidBody
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.bodies import decode_object, read_object, structured_format
from lyredb.protocols.rest.preconditions import precondition_of
from lyredb.protocols.rest.service import PROTOCOL, Service, head_of, path_text
from lyredb.resources.requests import Write
from lyredb.resources.target import Target


async def put_record(service: Service, request: Request, target: Target) -> None:
    """Replace or make the record: 204."""
    precondition = precondition_of(request)
    body = await request.body(service.max_body_bytes)
    content_type = request.header(b"content-type")
    if not body:
        raise InvalidBody("the body is empty; DELETE removes a record")
    value = None
    if not target.table.is_open_topics:  # open topics keep every payload as received
        chosen = structured_format(content_type, body)
        value = None if chosen is None else decode_object(chosen, body)
    write = Write(
        target,
        "put",
        value=value,
        payload=b"" if value is not None else body,
        content_type=content_type,
        precondition=precondition,
    )
    await service.database.write(write, request.context(PROTOCOL))
    request.respond(204)


async def patch_record(service: Service, request: Request, target: Target) -> None:
    """Merge the top level into the record, making it if missing: 204."""
    precondition = precondition_of(request)
    changes = await read_object(request, service.max_body_bytes)
    write = Write(target, "patch", value=changes, precondition=precondition)
    await service.database.write(write, request.context(PROTOCOL))
    request.respond(204)


async def delete_record(service: Service, request: Request, target: Target) -> None:
    """Remove the record: 200 ``true``, also if it never existed."""
    chosen = service.format_of(request)
    write = Write(target, "delete", precondition=precondition_of(request))
    await service.database.write(write, request.context(PROTOCOL))
    request.respond(200, head_of(chosen), chosen.encode(True))


async def post_record(service: Service, request: Request, target: Target) -> None:
    """Make a record: 201 with its key, 409 when the key that it brings exists."""
    chosen = service.format_of(request)
    record = await read_object(request, service.max_body_bytes)
    write = Write(target, "create", value=record)
    written = await service.database.write(write, request.context(PROTOCOL))
    key = written.id
    text = path_text(target.table.key_to_text(key))
    topic = path_text(service.database.registry.topic_of(target.table, key))
    head = f"location: {text}\r\ncontent-location: /{topic}\r\n".encode()
    body = chosen.encode(list(key) if isinstance(key, tuple) else key)
    request.respond(201, head_of(chosen) + head, body)
