"""From a `Write` to the mutation that the writer gets: validated, encoded, limited."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import msgspec
from msgspec.structs import replace

from lyredb.delivery.admission import Destination
from lyredb.errors import (
    InvalidRecord,
    LyreError,
    PreconditionFailed,
    RecordExists,
    UnsupportedOperation,
)
from lyredb.formats import JSON, format_for_content_type, guess_json
from lyredb.plugins.context import Context
from lyredb.resources.registry import shorten
from lyredb.resources.requests import Write
from lyredb.resources.write_limit import WriteLimit
from lyredb.storage.body import load_body
from lyredb.storage.keys import SHORT_FORM_BYTES, KeyValue, encode_full_key, is_short_form
from lyredb.storage.metadata import encode_metadata
from lyredb.storage.mutation import PUT, Kind, Mutation, Precondition
from lyredb.tables.stored import StoredTable
from lyredb.tables.validation import OPERATION

if TYPE_CHECKING:
    from lyredb.delivery.fence import HeldMessage

_PACKED_OPERATION: Final = bytes((0xA0 | len(OPERATION),)) + OPERATION.encode()
"""As the name of an attribute stands in a packed body."""


class Planned(msgspec.Struct, frozen=True, gc=False):
    """A write that was decided and encoded.

    Attributes:
        write: What was asked.
        id: The record's key, generated if none was given.
        mutation: For the writer.
        limit: What restricts its user, ``None`` if nothing does.
        integer: The key is this leased integer.
    """

    write: Write
    id: KeyValue
    mutation: Mutation
    limit: WriteLimit | None = None
    integer: int | None = None

    def meaning(self, error: LyreError) -> LyreError:
        """Return what a refusal by the writer means to who asked.

        A record that exists is a conflict for ``create`` and a failed condition for others.
        Where it may not be replaced, or may not be made, it is a lack of rights.
        """
        write, limit = self.write, self.limit
        if write.operation == "create" and isinstance(error, RecordExists):
            return RecordExists("Record already exists")
        refusal = None
        if limit is not None:
            refusal = limit.refusal(error, self.mutation, write.precondition)
        if refusal is not None:
            return refusal
        if isinstance(error, RecordExists):
            return PreconditionFailed("the record exists already, and the request asked for none")
        return error


def plan(
    write: Write, context: Context, limit: WriteLimit | None, integer: int | None = None
) -> Planned:
    """Encode a write that was decided for.

    Args:
        write: What is asked.
        context: Who asks.
        limit: What restricts that one.
        integer: The key of a creation, see `needs_integer`.

    Raises:
        NotAuthorised, InvalidRecord, InvalidBody, InvalidKey, UnsupportedOperation.
    """
    if write.operation == "create":
        record_id, mutation = _creation(write, context, integer)
    else:
        record_id, mutation = _change(write, context, limit)
    if limit is not None:
        mutation = limit.applied(mutation)
    return Planned(write, record_id, mutation, limit, integer)


def _change(write: Write, context: Context, limit: WriteLimit | None) -> tuple[KeyValue, Mutation]:
    target = write.target
    if target.id is None or target.kind != "record":
        name = target.table.schema.name
        raise UnsupportedOperation(f"only a record can be written: name one, as in {name}/42")
    if write.operation == "delete":
        return target.id, _assemble(write, context, target.id, Kind.DELETE)
    if write.operation == "patch":
        return target.id, _patch(write, context, target.id)
    is_partial = limit is not None and limit.is_partial
    return target.id, _put(write, context, target.id, is_partial=is_partial)


def _patch(write: Write, context: Context, record_id: KeyValue) -> Mutation:
    body, operations = write.target.table.encode_changes(_mapping(write.value), record_id)
    _refuse_operations(body)
    return _assemble(write, context, record_id, Kind.PATCH, body=body, operations=operations)


def _refuse_operations(body: bytes) -> None:
    """Refuse increments where they would be stored as data.

    Looking for the packed name costs nothing beside the encoding of the body.

    Raises:
        InvalidRecord: One is left in the body of a put, or below the top level of a patch.
    """
    if _PACKED_OPERATION not in body:
        return
    for name, value in load_body(body).items():
        if _has_operation(value):
            raise InvalidRecord(
                f"Property {name[:100]}: {OPERATION} is understood in a patch, as the value of "
                "a top-level attribute"
            )


def _has_operation(value: object) -> bool:
    if isinstance(value, dict):
        return OPERATION in value or any(map(_has_operation, value.values()))
    return isinstance(value, list) and any(map(_has_operation, value))


def message_mutation(
    destination: Destination,
    payload: bytes,
    context: Context,
    *,
    qos: int,
    content_type: str,
    properties: bytes,
) -> Mutation:
    """A message that is no record, for the log: whoever listens there is told it."""
    key = destination.key
    return Mutation(
        slot=destination.slot,
        key=key,
        kind=Kind.MESSAGE,
        body=payload,
        metadata=encode_metadata(content_type=content_type, properties=properties),
        full_id=encode_full_key(cast("KeyValue", destination.id)) if is_short_form(key) else b"",
        qos=qos,
        user=context.user,
        session=context.session,
    )


def held_mutation(held: HeldMessage) -> Mutation:
    """Return what logs a message that was held back behind a write."""
    message = held.message
    ingress = held.path.ingress
    context = Context(ingress.principal, ingress.protocol, session=message.session)
    mutation = message_mutation(
        held.path.destination,
        message.data,
        context,
        qos=message.qos,
        content_type=message.content_type,
        properties=message.properties,
    )
    return replace(mutation, expires_ms=message.expires_ms)


def _creation(write: Write, context: Context, integer: int | None) -> tuple[KeyValue, Mutation]:
    table = write.target.table
    value = _mapping(write.value)
    given = value.get(table.schema.primary_key)
    if given is None:
        record_id = table.generate_key(partial(_leased, integer))
    else:
        record_id = table.check_key(given)
    body = table.encode(value, record_id)
    _refuse_operations(body)
    mutation = _assemble(
        write,
        context,
        record_id,
        Kind.PUT,
        body=body,
        precondition=Precondition(must_be_absent=True),
    )
    return record_id, mutation


def needs_integer(write: Write) -> bool:
    """Tell whether a record is to be made whose key is the next integer."""
    table, value = write.target.table, write.value
    return (
        write.operation == "create"
        and table.generates_integers
        and isinstance(value, Mapping)
        and value.get(table.schema.primary_key) is None
    )


def _leased(integer: int | None) -> int:
    if integer is None:
        raise UnsupportedOperation("a write that somebody else sends must name its record")
    return integer


def _put(write: Write, context: Context, record_id: KeyValue, *, is_partial: bool) -> Mutation:
    """A put; of a user who may not change all, ``is_partial``, it need not have all."""
    table = write.target.table
    value = write.value if write.value is not None else structured(write)
    if value is not None:
        record = _mapping(value)
        body = _part(table, record, record_id) if is_partial else table.encode(record, record_id)
        if _PACKED_OPERATION in body:
            _refuse_operations(body)
        return _assemble(write, context, record_id, PUT, body=body)
    _require_opaque(table, write.content_type)
    metadata = encode_metadata(content_type=write.content_type, properties=write.properties)
    return _assemble(
        write, context, record_id, Kind.PUT, body=write.payload, metadata=metadata, opaque=True
    )


def _part(table: StoredTable, record: Mapping[str, object], record_id: KeyValue) -> bytes:
    """The body of a put to which its commit adds what stays: then it has to be whole."""
    body, operations = table.encode_changes(record, record_id)
    if operations:
        raise InvalidRecord("a put replaces values; send a PATCH to add to them")
    return body


def structured(write: Write) -> Mapping[str, object] | None:
    """The record that a payload is, or ``None`` when it is to be kept as bytes.

    Open topics keep every payload byte for byte. With a content type that we can
    decode the payload has to be what it says; without one, what begins with ``{`` has
    to be an object: kept as bytes, a broken one would replace a good record.

    Raises:
        InvalidBody, NestingTooDeep: It is not what it has to be.
    """
    if write.target.table.is_open_topics:
        return None
    if write.content_type:
        structured = format_for_content_type(write.content_type)
    else:
        structured = JSON if guess_json(write.payload) else None
    if structured is None:
        return None
    value = structured.decode(write.payload)
    return value if isinstance(value, dict) else None


def _require_opaque(table: StoredTable, content_type: str) -> None:
    """Refuse bytes that are no record where each record has to have a certain form."""
    if table.layout.sealed is None and not table.layout.required:
        return
    names = ", ".join(sorted(table.layout.required))
    wanted = f"with {names}" if names else "of declared attributes"
    sent = f"with the content type {shorten(content_type)}" if content_type else "without one"
    raise InvalidRecord(
        f"records of {table.schema.name} must be objects {wanted}: application/json is expected "
        f"as the content type, this came {sent}"
    )


def _mapping(value: object) -> Mapping[str, object]:
    if type(value) is dict:  # the common case: asking for a Mapping takes four times as long
        return value
    if not isinstance(value, Mapping):
        raise InvalidRecord("a record must be an object")
    return value


def _assemble(
    write: Write,
    context: Context,
    record_id: KeyValue,
    kind: Kind,
    *,
    body: bytes = b"",
    operations: bytes = b"",
    metadata: bytes = b"",
    opaque: bool = False,
    precondition: Precondition | None = None,
) -> Mutation:
    table = write.target.table
    key = write.target.key or table.encode_key(record_id)
    return Mutation(
        slot=table.slot,
        key=key,
        kind=kind,
        body=body,
        operations=operations,
        metadata=metadata,
        opaque=opaque,
        precondition=precondition or write.precondition,
        full_id=encode_full_key(record_id) if len(key) == SHORT_FORM_BYTES else b"",
        expires_ms=write.expires_ms,
        retain=write.retain,
        qos=write.qos,
        user=context.user,
        session=context.session,
        blobs=write.blobs,
    )
