"""PUT, PATCH, DELETE and POST (conventions 3.2). Each answers once it is on disk.

A write is prepared from the request and its whole body without waiting; then it is
submitted, and its answer sent when the commit calls back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from lyredb.errors import InvalidBody, LyreError
from lyredb.plugins.context import Context
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.bodies import object_in, value_in
from lyredb.protocols.rest.preconditions import precondition_of
from lyredb.protocols.rest.service import Service, head_of, path_text
from lyredb.resources.requests import Write, WriteOperation, Written
from lyredb.resources.target import Target

Fail = Callable[[Request, Exception], None]


class Prepared(NamedTuple):
    """A write, and how its success is told."""

    write: Write
    answer: Callable[[Written], None]


Prepare = Callable[[Service, Request, Target, bytes], Prepared]


def prepare_put(service: Service, request: Request, target: Target, body: bytes) -> Prepared:
    """Replace or make the record: 204."""
    content_type = request.header(b"content-type")
    if not body:
        raise InvalidBody("the body is empty; DELETE removes a record")
    value = None
    if not target.table.is_open_topics:  # open topics keep every payload as received
        value = value_in(target.table, content_type, body)
    write = Write(
        target,
        "put",
        value=value,
        payload=b"" if value is not None else body,
        content_type=content_type,
        precondition=precondition_of(request),
    )
    return Prepared(write, lambda written: request.respond(204))


def prepare_patch(service: Service, request: Request, target: Target, body: bytes) -> Prepared:
    """Merge the top level into the record, making it if missing: 204."""
    changes = object_in(target.table, request.header(b"content-type"), body)
    write = Write(target, "patch", value=changes, precondition=precondition_of(request))
    return Prepared(write, lambda written: request.respond(204))


def prepare_delete(service: Service, request: Request, target: Target, body: bytes) -> Prepared:
    """Remove the record: 200 ``true``, also if it never existed."""
    chosen = service.format_of(request)
    write = Write(target, "delete", precondition=precondition_of(request))
    return Prepared(
        write, lambda written: request.respond(200, head_of(chosen), chosen.encode(True))
    )


def prepare_post(service: Service, request: Request, target: Target, body: bytes) -> Prepared:
    """Make a record: 201 with its key, 409 when the key that it brings exists."""
    chosen = service.format_of(request)
    value = object_in(target.table, request.header(b"content-type"), body)
    write = Write(target, "create", value=value)

    def answer(written: Written) -> None:
        key = written.id
        text = path_text(target.table.key_to_text(key))
        topic = path_text(service.database.registry.topic_of(target.table, key))
        head = f"location: {text}\r\ncontent-location: /{topic}\r\n".encode()
        content = chosen.encode(list(key) if isinstance(key, tuple) else key)
        request.respond(201, head_of(chosen) + head, content)

    return Prepared(write, answer)


WRITES: Final[dict[str, dict[str, Prepare]]] = {
    "record": {"PUT": prepare_put, "PATCH": prepare_patch, "DELETE": prepare_delete},
    "property": {},
    "collection": {"POST": prepare_post},
    "table": {},
}
"""How a write is prepared, by kind of target and method."""


OPERATIONS: Final[dict[str, WriteOperation]] = {
    "PUT": "put",
    "PATCH": "patch",
    "DELETE": "delete",
    "POST": "create",
}
"""What a method asks for, to decide about it before its body is looked at."""


def submit(
    service: Service, request: Request, prepared: Prepared, context: Context, fail: Fail
) -> None:
    """Send the write and return; it is answered after the commit.

    Raises:
        LyreError: It was refused before anything was sent.
    """

    def done(result: Written | LyreError) -> None:
        try:
            if isinstance(result, LyreError):
                raise result
            prepared.answer(result)
        except Exception as error:  # must not end the writer's round of replies
            fail(request, error)

    service.database.submit(prepared.write, context, done)


async def perform(
    service: Service, request: Request, target: Target, prepare: Prepare, context: Context
) -> None:
    """Read the body, write and answer."""
    body = await request.body(service.max_body_bytes)
    prepared = prepare(service, request, target, body)
    prepared.answer(await service.database.write(prepared.write, context))
