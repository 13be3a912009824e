"""PUT and DELETE of one attribute of a record: ``/Sensor/kitchen.value``.

Both are a PATCH of the record, which has to be there: a path into what does not exist
leads nowhere. A path whose whole text is the id of a record means that record, see
`lyredb.protocols.rest.paths`.
"""

from __future__ import annotations

from msgspec.structs import replace

from lyredb.errors import LyreError, RecordMissing, RecordNotFound
from lyredb.protocols.http.request import Request
from lyredb.protocols.rest.bodies import property_in
from lyredb.protocols.rest.preconditions import precondition_of
from lyredb.protocols.rest.prepared import Prepared, tell_true
from lyredb.protocols.rest.service import Service
from lyredb.resources.requests import Write
from lyredb.resources.target import Target
from lyredb.storage.mutation import Precondition


def prepare_put_property(
    service: Service, request: Request, target: Target, body: bytes
) -> Prepared:
    """Set the attribute: 204, or 404 when there is no record."""
    value = property_in(target, request.header(b"content-type"), body)

    def refusal(error: LyreError) -> LyreError:
        return error if _asks_to_exist(request) else _not_there(error)

    return Prepared(_patch(request, target, value), lambda written: request.respond(204), refusal)


def prepare_delete_property(
    service: Service, request: Request, target: Target, body: bytes
) -> Prepared:
    """Set the attribute to null: 200 ``true``, also if there is no record."""

    def refusal(error: LyreError) -> LyreError | None:
        is_gone = isinstance(error, RecordMissing) and not _asks_to_exist(request)
        return None if is_gone else error

    return Prepared(_patch(request, target, None), tell_true(service, request), refusal)


def _patch(request: Request, target: Target, value: object) -> Write:
    record = replace(target, kind="record", attribute="")
    asked = precondition_of(request) or Precondition()
    return Write(
        record,
        "patch",
        value={target.attribute: value},
        precondition=replace(asked, must_exist=True),
    )


def _asks_to_exist(request: Request) -> bool:
    """Whether the client itself made it a condition that there is a record."""
    return b"if-match" in request.headers


def _not_there(error: LyreError) -> LyreError:
    if isinstance(error, RecordMissing):
        return RecordNotFound("there is no such record; PUT or PATCH it as a whole first")
    return error
