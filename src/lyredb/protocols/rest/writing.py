"""PUT, PATCH, DELETE and POST (``docs/rest.md``). Each answers once it is on disk.

A write is prepared from the request and its whole body without waiting; then it is
submitted, and its answer sent when the commit calls back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from lyredb.errors import InvalidBody, LyreError
from lyredb.plugins.context import Context
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.bodies import object_in, object_or_objects, objects_in, value_in
from lyredb.protocols.rest.methods import changes_of
from lyredb.protocols.rest.preconditions import check_collection, precondition_of
from lyredb.protocols.rest.prepared import Batch, Prepare, Prepared, tell_true
from lyredb.protocols.rest.properties import prepare_delete_property, prepare_put_property
from lyredb.protocols.rest.querying import delete_matching
from lyredb.protocols.rest.service import Service, head_of, path_text
from lyredb.resources.requests import Write, Written
from lyredb.resources.target import Target
from lyredb.storage.keys import KeyValue

Fail = Callable[[Request, Exception], None]


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
    return Prepared(write, partial(_tell_done, request))


def _tell_done(request: Request, written: Written | None) -> None:
    request.respond(204)


def prepare_patch(service: Service, request: Request, target: Target, body: bytes) -> Prepared:
    """Merge the top level into the record, making it if missing: 204."""
    changes = object_in(target.table, request.header(b"content-type"), body)
    write = Write(target, "patch", value=changes, precondition=precondition_of(request))
    return Prepared(write, partial(_tell_done, request))


def prepare_delete(service: Service, request: Request, target: Target, body: bytes) -> Prepared:
    """Remove the record: 200 ``true``, also if it never existed."""
    write = Write(target, "delete", precondition=precondition_of(request))
    return Prepared(write, tell_true(service, request))


def prepare_post(
    service: Service, request: Request, target: Target, body: bytes
) -> Prepared | Batch:
    """Make a record, or one of each element of a list: 201 with the key or keys.

    A key that is brought along and exists already is 409; then nothing is made.
    """
    check_collection(request)
    value = object_or_objects(target.table, request.header(b"content-type"), body)
    chosen = service.format_of(request)
    if isinstance(value, list):
        writes = [Write(target, "create", value=one) for one in value]

        def answer_all(written: Sequence[Written]) -> None:
            ids = [_as_value(one.id) for one in written]
            request.respond(201, head_of(chosen), chosen.encode(ids))

        return Batch(writes, answer_all)

    def answer(written: Written | None) -> None:
        assert written is not None, "a creation that fails is an error"
        key = written.id
        text = path_text(target.table.key_to_text(key))
        topic = path_text(service.database.registry.topic_of(target.table, key))
        head = f"location: {text}\r\ncontent-location: /{topic}\r\n".encode()
        request.respond(201, head_of(chosen) + head, chosen.encode(_as_value(key)))

    return Prepared(Write(target, "create", value=value), answer)


def _as_value(key: KeyValue) -> object:
    return list(key) if isinstance(key, tuple) else key


def prepare_put_all(service: Service, request: Request, target: Target, body: bytes) -> Batch:
    """Replace or make a record of each element of a list, by its key: 204."""
    check_collection(request)
    records = objects_in(request.header(b"content-type"), body)
    name = target.table.schema.primary_key
    writes = []
    for number, record in enumerate(records, 1):
        key = record.get(name)
        if key is None:
            raise InvalidBody(f"element {number} has no {name}; POST makes keys")
        record_target = service.database.registry.record(target.table, key)
        writes.append(Write(record_target, "put", value=record))
    return Batch(writes, lambda written: request.respond(204))


_WRITES: Final[dict[str, dict[str, Prepare]]] = {
    "record": {"PUT": prepare_put, "PATCH": prepare_patch, "DELETE": prepare_delete},
    "property": {"PUT": prepare_put_property, "DELETE": prepare_delete_property},
    "collection": {"POST": prepare_post, "PUT": prepare_put_all},
    "table": {},
}
"""How a write is prepared, by kind of target and method."""


def prepare_of(method: str, target: Target) -> Prepare | None:
    """How a write is prepared; ``None`` for what is no such write."""
    if method not in changes_of(target):
        return None
    return _WRITES[target.kind].get(method)


def submit(
    service: Service, request: Request, prepared: Prepared, context: Context, fail: Fail
) -> None:
    """Send the write and return; it is answered after the commit.

    Raises:
        LyreError: It was refused before anything was sent.
    """
    service.database.submit(prepared.write, context, partial(_tell, request, prepared, fail))


def _tell(request: Request, prepared: Prepared, fail: Fail, result: Written | LyreError) -> None:
    try:
        if isinstance(result, LyreError):
            _tell_failure(prepared, result)
        else:
            prepared.answer(result)
    except Exception as error:  # must not end the writer's round of replies
        fail(request, error)


def _tell_failure(prepared: Prepared, error: LyreError) -> None:
    meant = prepared.refusal(error)
    if meant is not None:
        raise meant from error
    prepared.answer(None)


async def perform(service: Service, request: Request, target: Target, context: Context) -> None:
    """Read the body, write and answer."""
    body = await request.body(service.options.max_body_bytes)
    if request.method == "DELETE" and target.kind == "collection":
        check_collection(request)
        tell = tell_true(service, request)
        await delete_matching(service, request, target, context)
        tell(None)
        return
    prepare = prepare_of(request.method, target)
    assert prepare is not None, "the method is one of the target's"
    prepared = prepare(service, request, target, body)
    if isinstance(prepared, Batch):
        written = await service.database.write_all(prepared.writes, context)
        prepared.answer(written)
        return
    try:
        done = await service.database.write(prepared.write, context)
    except LyreError as error:
        _tell_failure(prepared, error)
    else:
        prepared.answer(done)
